"""A plain transformers checkpoint with an adapter in effect; loading it needs no hf_unlearn."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.adapters.export.hardening import compute_hardening
from hf_unlearn.adapters.export.model_card import render_export_card
from hf_unlearn.adapters.export.siglip_tokenizer import as_tokenizer_json
from hf_unlearn.adapters.export.tokenizer_files import attend_to_padding, keep_context
from hf_unlearn.errors import ExportError, InputError
from hf_unlearn.files import check_target, writing
from hf_unlearn.models.black_box import TEMPLATE
from hf_unlearn.models.clip import CAUSAL, ClipBlackBox, projection_of
from hf_unlearn.models.text_edit import TextEdit

SHARD = "5GB"
COMPARED = 8  # forget and as many retain names that a finished export is checked on
SAME, SAME_HALF = 1e-3, 1e-2  # largest difference of a text feature of length 1 from the adapter's; of half precision


@torch.no_grad()
def export(
    weights: Tensor | TextEdit,
    config: AdapterConfig,
    model: ClipBlackBox,
    folder: str | Path,
    hardened: bool = False,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes `model` with the adapter inside, as a plain checkpoint; the folder appears whole or not at all.

    A context becomes extra tokens, their embeddings, and a tokenizer that puts them first. An edit is multiplied into
    the text projection, and nothing else changes. `pipeline("zero-shot-image-classification", model=folder)` then
    gives the adapted scores. What was written is loaded and compared before it is put in place.

    Args:
        weights: a context, `(m, dim)`, or an edit.
        config: the adapter's config; a context's checkpoint is for its template.
        model: the adapter's base.
        folder: a new or empty folder.
        hardened: with a context, also project the forgotten names out of the text projection (see `hardening`).
        dtype: precision of the weights on disk.

    Raises:
        InputError: if the folder holds something, or an edit is to be hardened.
        ExportError: if the model's family or tokenizer can't carry a context; nothing is written.
        StorageError: if the folder can't be written.
    """
    folder = Path(folder).resolve()
    check_out(folder)
    if isinstance(weights, TextEdit):
        if hardened:
            raise InputError("an edit needs no hardening: it is in the text projection itself; export it without")
        made = _with_edit(weights, config, model)
    else:
        made = _with_context(weights, config, model.with_template(config.template), hardened)
    with writing(folder):
        try:
            made.clip.to(dtype)
            _write(made, folder, model.family, render_export_card(config, model.family, hardened, str(dtype)[6:]))
        except SafetensorError as error:  # its error for a full disk is no OSError
            raise OSError(str(error)) from error


def _write(made: _Made, folder: Path, family: str, card: str) -> None:
    """The checkpoint and its card, by one rename, compared with what it was made from."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder.parent))
    try:
        made.clip.save_pretrained(fresh, max_shard_size=SHARD)
        made.processor.save_pretrained(fresh)
        made.processor.image_processor.save_pretrained(fresh)  # once more, in the file that transformers.js reads
        if made.new_tokenizer:
            keep_context(fresh)
        masks = made.new_tokenizer or "attention_mask" in made.processor.tokenizer.model_input_names
        if masks and family.startswith("siglip"):
            attend_to_padding(fresh)
        (fresh / "README.md").write_bytes(card.encode())
        _compare(fresh, made)
        fresh.chmod(0o755)
        for path in fresh.iterdir():  # safetensors writes for its owner only
            path.chmod(0o644)
        with suppress(FileNotFoundError):
            folder.rmdir()  # an empty one: Windows renames nothing over a folder
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_out(folder: Path) -> None:
    """Checks before long work whether `export` may write there; leaves nothing behind.

    Raises:
        InputError: if the folder holds something.
        StorageError: if it can't be written.
    """
    with writing(folder):
        taken = os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise InputError(f"{folder}: exists and is not an empty folder; choose another one to export to")
    if os.path.ismount(folder):
        raise InputError(f"{folder}: is a mount point, which can't be replaced whole; name a new folder inside it")
    check_target(folder, lambda folder: False, "empty folder")


@dataclass(frozen=True)
class _Made:
    """A checkpoint to write, and the text features `(1, C, width)` that it must give for `names`."""

    clip: Any
    processor: Any
    new_tokenizer: bool  # whether its tokenizer was changed
    model: ClipBlackBox
    names: list[str]
    expected: Tensor


def _with_edit(edit: TextEdit, config: AdapterConfig, model: ClipBlackBox) -> _Made:
    clip = deepcopy(model.model).cpu().float()
    _apply(edit.matrix(), projection_of(clip))
    names = _checked(config)
    expected = edit.linear()(model.text_features(torch.zeros(1, 0, model.dim), names).cpu())
    return _Made(clip, model.processor, False, model, names, expected)


def _with_context(context: Tensor, config: AdapterConfig, model: ClipBlackBox, hardened: bool) -> _Made:
    processor = deepcopy(model.processor)
    if model.family == "siglip" and hasattr(processor.tokenizer, "sp_model"):
        processor.tokenizer = as_tokenizer_json(processor.tokenizer)
    tokens = _put_context_first(processor.tokenizer, len(context), model)
    clip = deepcopy(model.model).cpu().float()
    known = clip.text_model.get_input_embeddings().num_embeddings
    rows = max(max(tokens) + 1, known)
    embedding = clip.text_model.resize_token_embeddings(rows, mean_resizing=False)
    embedding.weight[known:] = 0  # nothing random, should ids be left over
    embedding.weight[tokens] = context
    text_config = clip.config.text_config
    text_config.vocab_size = rows
    if model.family in CAUSAL:  # eos_token_id 2, as in old configs, would pool at the largest id: a context token
        for role in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(text_config, role, getattr(processor.tokenizer, role))
    if config.template != TEMPLATE:
        clip.config.hypothesis_template = config.template
    names = _checked(config)
    expected = model.text_features(context[None], names).cpu()
    if hardened:
        change = compute_hardening(model, context, config.forget, config.retain).cpu()
        _apply(change, projection_of(clip))
        expected = F.normalize(expected @ change.T, dim=-1)
    return _Made(clip, processor, True, model, names, expected)


def _checked(config: AdapterConfig) -> list[str]:
    return [*config.forget[:COMPARED], *config.retain[:COMPARED]]


def _put_context_first(tokenizer: Any, n_ctx: int, model: ClipBlackBox) -> list[int]:
    """Adds `n_ctx` tokens and has every text start with them, after BOS where there is one; their ids."""
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing

    if not getattr(tokenizer, "is_fast", False):
        raise ExportError(
            f"{model.model_id}: a {model.family} model with a {type(tokenizer).__name__} can't be exported: that "
            "tokenizer has no post-processor (tokenizer.json) to put the context before every text; "
            "load the adapter with hf_unlearn instead"
        )
    whole, bare = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    specials = tokenizer.convert_ids_to_tokens([*whole[:start], *whole[start + len(bare) :]])
    known = tokenizer.get_vocab()
    names = list(islice((name for i in count() if (name := f"<|forget_{i}|>") not in known), n_ctx))
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=True) for name in names], special_tokens=True)
    first = model.reader.start
    pattern = [*specials[:first], *names, *specials[first:start], "$A", *specials[start:]]
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (*specials, *names)}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=pattern, pair=[*pattern, "$B"], special_tokens=list(ids.items())
    )
    return [ids[name] for name in names]


def _apply(change: Tensor, projection: torch.nn.Linear) -> None:
    projection.weight.copy_(change @ projection.weight)
    if projection.bias is not None:
        projection.bias.copy_(change @ projection.bias)


def _compare(folder: Path, made: _Made) -> None:
    """Loads the checkpoint and compares text features. Raises: ExportError: if they differ."""
    model = made.model
    written = ClipBlackBox(str(folder), template=model.template, device="cpu", shared_prefix=False)
    found = written.text_features(torch.zeros(1, 0, written.dim), made.names)
    del written
    gc.collect()  # close its files: Windows renames no folder with a file in use
    if not torch.allclose(found, made.expected, rtol=0, atol=SAME if made.clip.dtype == torch.float32 else SAME_HALF):
        raise ExportError(
            f"{model.model_id}: the exported {model.family} checkpoint reads texts otherwise than the adapter does "
            f"(by {(found - made.expected).abs().max():.2g}), so it was not kept; load the adapter with hf_unlearn "
            "instead"
        )
