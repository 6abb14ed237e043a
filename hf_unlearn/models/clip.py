"""The local black box: any zero-shot CLIP, in the format of transformers or of open_clip."""

from __future__ import annotations

import sys
from collections.abc import Sequence, Sized
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.data.class_names import text_list
from hf_unlearn.data.pixels import as_images
from hf_unlearn.errors import InputError, PromptTooLongError
from hf_unlearn.models import fused
from hf_unlearn.models.black_box import (
    ENCODED_AT_ONCE,
    PROBES,
    PROMPTS_AT_ONCE,
    SCORES_AT_ONCE,
    TEMPLATE,
    ImageSet,
    Ledger,
    check_adapter,
    check_contexts,
    check_template,
)
from hf_unlearn.models.cuda_graphs import Replayed
from hf_unlearn.models.device import join_job, precision_of, usable
from hf_unlearn.models.embedded import EMBEDDED
from hf_unlearn.models.image_encoding import at_once, processed
from hf_unlearn.models.image_tower import ImageTower
from hf_unlearn.models.loading import open_checkpoint
from hf_unlearn.models.prefix_tower import PrefixTower, layers_of
from hf_unlearn.models.prompts import PromptReader
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.models.adapted_box import AdaptedBox, Adapter

CAUSAL = ("clip", "metaclip_2")  # families whose text tower reads from left to right


class ClipBlackBox:
    """Any zero-shot CLIP in the format of transformers or open_clip: on the Hub, in a folder, or that of the package.

    Args:
        model: a Hub id, a folder, or `"embedded"`.
        template: the prompt around a class name, one `{}`.
        revision: commit, tag or branch; resolved to a commit once.
        subfolder: where in the repository or folder the checkpoint is.
        device: where to run; accelerate's choice if not given.
        dtype: precision of the towers, float32, float16 or bfloat16; scores are float32 whatever it is. On an NVIDIA
            GPU, products of halves compute float32; see `hf_unlearn.models.fused`.
        shared_prefix: compute what all prompts share once per candidate, where the tower is causal.

    Raises:
        InputError: if the template does not have exactly one `{}` or leaves no room, or the checkpoint is of another
            family. Also if its tokenizer is of another model or needs a package, or there is no such device or dtype.
            A ValueError.
        HubError: if the Hub does not give the checkpoint; an OSError.
        StorageError: if its files are missing or damaged, or weights are missing or not finite; an OSError.
    """

    calls = 4
    prompts_at_once = PROMPTS_AT_ONCE
    scores_at_once = SCORES_AT_ONCE

    def __init__(
        self,
        model: str = EMBEDDED,
        *,
        template: str = TEMPLATE,
        revision: str | None = None,
        subfolder: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str = torch.float32,
        shared_prefix: bool = True,
    ) -> None:
        from transformers.utils import logging

        if not sys.stderr.isatty():  # bars are for people
            logging.disable_progress_bar()
        self.template = check_template(template)
        precision = precision_of(dtype)
        where = None if device is None else usable(device)
        self.model_id = str(model)
        checkpoint = open_checkpoint(self.model_id, revision, subfolder)
        self.revision, self.family = checkpoint.files.commit, checkpoint.family
        self.subfolder = checkpoint.files.subfolder or None
        self.device: torch.device = where or join_job().device
        self.model = checkpoint.load_weights(precision).to(self.device)
        self.processor = checkpoint.load_processor()
        with checkpoint.explained():
            self._measure(checkpoint.config)
        self.ledger = Ledger()
        self._settle(shared_prefix)

    def _settle(self, shared_prefix: bool) -> None:
        """What depends on the device, once the model is there."""
        self._sharpness = float(self.model.logit_scale.exp().float())
        self._scores: fused.Scores | None = None  # of the images asked about last
        self.fast = fused.fits(self.model.dtype, self.device)
        if self.device.type == "cuda":
            self.prompts_at_once, self.scores_at_once = 32_768, 2**28  # a GPU wants much at a time
        self.encoded_at_once = at_once(self.model, self.device, ENCODED_AT_ONCE)
        self._image_tower = ImageTower.of(self.model) if self.fast and self.family in CAUSAL else None
        self._layers = layers_of(self.model.text_model) if shared_prefix and self.family in CAUSAL else None
        self._towers = lru_cache(maxsize=8)(self._tower)

    def _measure(self, config: Any) -> None:
        """Reads sizes and statistics that other modules need."""
        self.tokenizer = self.processor.tokenizer
        embedding = self.model.text_model.get_input_embeddings()
        self.dim = embedding.embedding_dim
        self.width = projection_of(self.model).out_features
        self.token_mean = embedding.weight.float().mean(0).cpu()
        self.token_std = embedding.weight.float().std().item()
        self.reader = PromptReader(self.tokenizer, self.model_id, config, embedding.num_embeddings)
        self.reader.check_room(self.template)
        if self.family in CAUSAL:
            self.reader.check_pooling()
        self.positions = self.reader.longest
        self.max_n_ctx = self.reader.longest_context(self.template)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the towers."""
        return self.model.dtype

    def add_images(self, images: Any) -> ImageSet:
        """Encodes images once, in batches, with a progress bar on a terminal.

        Args:
            images: several, or one: paths (no URLs), PIL images, bytes of image files, or open files. Also arrays
                `(height, width)` or `(height, width, 1 to 4)`, and tensors, whose channels may come first; or a batch
                `(N, height, width, 1 to 4)`. See `hf_unlearn.data.pixels.to_rgb` for what pixels may be.

        Raises:
            InputError: if there is no image, or one is unreadable; the message says which. A ValueError.
        """
        images = as_images(images)
        parts = processed(images, self.processor.image_processor, self.encoded_at_once, self.device)
        total = -(-len(images) // self.encoded_at_once) if isinstance(images, Sized) else None
        quiet = not sys.stderr.isatty() or (total is not None and total < 8)
        features = []
        for inputs in track(
            parts, "encoding images", total=total, transient=True, disable=quiet, console=Console(stderr=True)
        ):
            features.append(self._image_features(inputs))
            self.ledger.image_encodings += len(features[-1])
        if not features:
            raise InputError("expected at least one image, got none")
        return ImageSet(torch.cat(features))

    @torch.no_grad()
    def _image_features(self, inputs: dict[str, Tensor]) -> Tensor:
        pixels = inputs["pixel_values"].to(self.model.dtype)
        size = getattr(self.model.config.vision_config, "image_size", None)  # SigLIP 2 reads any
        if isinstance(size, int) and pixels.shape[-2:] != (size, size):
            raise InputError(
                f"{self.model_id}: its image processor makes images of {pixels.shape[-1]} × {pixels.shape[-2]} pixels, "
                f"its image tower reads {size} × {size}; the two are of different models: get both again"
            )
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=torch.backends.cuda.matmul.allow_tf32):
            if self._image_tower is not None:
                features = self.model.visual_projection(self._image_tower(pixels)).float()
            else:
                features = self.model.get_image_features(**{**inputs, "pixel_values": pixels}).pooler_output.float()
        return F.normalize(features, dim=-1)

    def log_scores(self, contexts: Tensor, images: ImageSet, names: Sequence[str]) -> Tensor:
        """See `BlackBox`. A context of no tokens, `(1, 0, dim)`, gives the scores of the model itself.

        Raises:
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
            InputError: if contexts have another width, or names are missing or not a list of text; a ValueError.
        """
        return self.compare(self.text_features(contexts, names), images)

    def compare(self, texts: Tensor, images: ImageSet) -> Tensor:
        """Unit text features `(P, C, width)` -> log-scores `(P, N, C)` float32; `P` queries."""
        self.ledger.queries += len(texts)
        if self.fast:
            scores = self._scores
            if scores is None or scores.images is not images.features:
                scores = self._scores = fused.Scores(images.features, self._sharpness, self.model.dtype)
            return scores(texts)
        logits = self.model.logit_scale.exp().float() * (images.features @ texts.transpose(1, 2))
        return logits.log_softmax(-1)

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under an adapter, as a black box.

        Raises:
            WrongBaseError: if the adapter was made for another base.
        """
        check_adapter(adapter)
        return adapter.applied_to(self)

    def zero_shot(self, images: ImageSet, names: Sequence[str]) -> Tensor:
        """Log-scores of the model without a context, `(N, C)`; no query is counted."""
        queries = self.ledger.queries
        scores = self.log_scores(torch.zeros(1, 0, self.dim), images, names)[0]
        self.ledger.queries = queries
        return scores

    @torch.no_grad()
    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)` -> unit text features `(P, C, width)`, float32, on the device. Raises as `log_scores` does."""
        names = text_list("names", names)
        check_contexts(contexts, self.dim)
        prompts, tower = self._towers(tuple(names))
        longest = max(map(len, prompts)) + contexts.shape[1]
        if longest > self.positions:
            worst = names[max(range(len(prompts)), key=lambda i: len(prompts[i]))]
            raise PromptTooLongError(
                f"a context of {contexts.shape[1]} tokens and the prompt of {brief(worst)} take {longest} tokens, "
                f"the text tower of {self.model_id} reads {self.positions}; use a shorter context or name"
            )
        contexts = contexts.to(self.device, self.model.dtype)
        self.ledger.text_tokens += len(contexts) * sum(len(prompt) + contexts.shape[1] for prompt in prompts)
        if tower is not None:
            return tower(contexts)
        rows = max(1, 16_384 // (len(prompts) * longest))  # candidates at a time: bounds memory
        return F.normalize(torch.cat([self._inject(part, prompts) for part in contexts.split(rows)]), dim=-1)

    def _inject(self, contexts: Tensor, prompts: list[list[int]]) -> Tensor:
        """The reference path, valid for every family: placeholder ids, and a hook that puts the context there."""
        n_ctx = contexts.shape[1]
        ids, masks, places = self.reader.with_context(prompts, n_ctx)
        first = torch.tensor(places, device=self.device).repeat(len(contexts))
        where = first[:, None] + torch.arange(n_ctx, device=self.device)

        def put(module: Any, args: Any, output: Tensor) -> Tensor:
            output = output.clone()
            everyone = torch.arange(len(output), device=self.device)[:, None]
            output[everyone, where] = contexts.repeat_interleave(len(prompts), 0)
            return output

        hook = self.model.text_model.get_input_embeddings().register_forward_hook(put)
        try:
            ids_of_all, mask_of_all = (
                torch.tensor(rows_of, device=self.device).repeat(len(contexts), 1) for rows_of in (ids, masks)
            )
            output = self.model.get_text_features(input_ids=ids_of_all, attention_mask=mask_of_all)
            features = output.pooler_output.float()
        finally:
            hook.remove()
        return features.view(len(contexts), len(prompts), -1)

    def with_template(self, template: str) -> ClipBlackBox:
        """The same model under another template; weights, device and ledger are shared.

        Raises:
            InputError: if the template does not have exactly one `{}`; a ValueError.
        """
        other = copy(self)
        other.template = check_template(template)
        other.max_n_ctx = other.reader.longest_context(other.template)
        other._towers = lru_cache(maxsize=8)(other._tower)
        return other

    def fingerprint(self) -> list[list[float]]:
        """Text features of eight fixed strings, the first 32 numbers of each: which base model this is."""
        plain = self.with_template("{}")
        plain.ledger = Ledger()
        features = plain.text_features(torch.zeros(1, 0, self.dim), PROBES)[0, :, :32]
        return [[round(value, 4) for value in row] for row in F.normalize(features, dim=-1).tolist()]

    def _tower(self, names: tuple[str, ...]) -> tuple[list[list[int]], Replayed | None]:
        prompts = [self._ids(name) for name in names]
        if self._layers is None or self.reader.start != 1 or not self.reader.pools_last(prompts):
            return prompts, None
        tower = PrefixTower(self.model.text_model, prompts, self._layers)
        project = self.model.text_projection
        return prompts, Replayed(lambda contexts: F.normalize(project(tower.pooled(contexts)).float(), dim=-1))

    def same_tokens(self, names: Sequence[str]) -> tuple[str, str] | None:
        """The first two names that the tokenizer reads alike within the template; None if all differ."""
        return next(((first, name) for name, first in self.find_repeats(names).items()), None)

    def find_repeats(self, names: Sequence[str]) -> dict[str, str]:
        """By name that the tokenizer reads like an earlier one within the template: the first of those."""
        return self.reader.find_repeats(names, self.template)

    def _ids(self, name: str) -> list[int]:
        return self.reader.ids(self.template.format(name))


def projection_of(model: Any) -> torch.nn.Linear:
    """The linear map that a transformers CLIP's text features come out of."""
    return model.text_projection if hasattr(model, "text_projection") else model.text_model.head
