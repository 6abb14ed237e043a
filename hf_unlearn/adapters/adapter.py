"""ForgetAdapter: a learned context or a text edit with everything needed to use and judge it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.adapters.adapted_clip import AdaptedClip
from hf_unlearn.adapters.config import CONFIG, MAX_RANK, AdapterConfig
from hf_unlearn.adapters.export.checkpoint import check_out, export
from hf_unlearn.adapters.model_card import metadata_of
from hf_unlearn.adapters.storage import FILES, MAX_BYTES, REPORT, WEIGHTS, files_of, read_folder, save_folder
from hf_unlearn.arguments import is_file
from hf_unlearn.edits.vectors import edit_vectors
from hf_unlearn.errors import AdapterError, InputError, WrongBaseError
from hf_unlearn.hub import client as hub
from hf_unlearn.models.adapted_box import AdaptedBox
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.embedded import EMBEDDED
from hf_unlearn.models.text_edit import TextEdit, digest
from hf_unlearn.text import brief

MAX_VALUE = 1_000.0  # token embeddings are about 0.01 to 1, an edit's numbers up to about 10
SAME_BASE = 0.99  # least cosine between the fingerprints of one base at two precisions


@dataclass(frozen=True)
class ForgetAdapter:
    """What makes its base model forget: a context or a text edit. A few kilobytes; the base's weights stay as they are.

    Attributes:
        weights: a context, `(m, dim)` float32, or a `TextEdit`.
        config: what it is for and how it was made.
        report: the evaluation's rows (`report.json`), if it was evaluated.

    Raises:
        AdapterError: if the weights are not finite, not of the configured kind and shape, or not the ones that
            the config describes.
    """

    weights: Tensor | TextEdit
    config: AdapterConfig
    report: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        config = self.config
        if config.kind != ("edit" if isinstance(self.weights, TextEdit) else "context"):
            raise AdapterError(f"{CONFIG} is of an adapter of kind {config.kind}, its weights are of the other kind")
        if isinstance(self.weights, TextEdit):
            tensors = self.weights.tensors()
            of_gate = len(tensors["near"]) if self.weights.gate is not None and tensors["near"].ndim else 0
            expected: dict[str, tuple[int | None, ...]] = {
                "up": (config.width, config.rank), "down": (config.rank, config.width), "centre": (config.width,),
                "near": (max(1, min(of_gate, MAX_RANK)), config.width), "bias": (of_gate,),
            }  # fmt: skip
        else:
            tensors, expected = {"context": self.weights}, {"context": (config.n_ctx, config.dim)}
        for name, tensor in tensors.items():
            _check(name, tensor, expected[name])
        if config.weights_sha256 != digest(self.weights):
            raise AdapterError(f"{CONFIG} and {WEIGHTS[config.kind]} don't belong together; get the adapter again")

    @property
    def kind(self) -> str:
        """`"context"` or `"edit"`."""
        return self.config.kind

    @property
    def context(self) -> Tensor | None:
        """The soft prompt, `(m, dim)`; None if this is an edit."""
        return None if isinstance(self.weights, TextEdit) else self.weights

    @property
    def edit(self) -> TextEdit | None:
        """The map of the text features; None if this is a context."""
        return self.weights if isinstance(self.weights, TextEdit) else None

    def with_report(self, report: dict[str, Any]) -> ForgetAdapter:
        """The same adapter with its evaluation inside: saved beside it, its own row as `config.metrics`.

        Raises:
            ValueError: if no row of the report is about this adapter.
        """
        own = next((row for row in report["rows"] if row.get("weights_sha256") == self.config.weights_sha256), None)
        if own is None:
            raise InputError("the report has no row about this adapter; evaluate it first")
        figures = {key: value for key, value in own.items() if key not in ("name", "queries", "weights_sha256")}
        config = replace(self.config, metrics={**self.config.metrics, **figures})
        return replace(self, config=config, report=report)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config, weights, card and report, then the report's picture; the folder is never seen half-written.

        An adapter that was there is replaced, and files beside it stay. A card or picture that can't be made is named
        in a warning.

        Raises:
            ValueError: if the folder holds something and is no adapter; nothing is written.
            OSError: if the folder can't be written; what was there stays as it was.
        """
        save_folder(Path(folder), self.weights, self.config, self.report)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
    ) -> hub.CommitInfo:
        """Puts the adapter in a repository on the Hub: all files in one commit, or none.

        What its card says there and an adapter does not, such as a licence or a person's tags, stays.

        Args:
            repo_id: `user/name`, or `name` for one's own; made if it does not exist.
            private: whether the repository is to be private; an existing one must be as asked.
            revision: the branch, made if it does not exist; `main` if not given.
            commit_message: the first line of the commit.
            create_pr: open a pull request instead of committing.
            token: instead of the one that `hf auth login` saved; it is stored nowhere.

        Returns:
            The commit; where nothing changed none is made, and `oid` is the one that stands.

        Raises:
            HubError: if the Hub refuses or can't be reached, or someone else committed meanwhile.
            ValueError: if the repository holds something else, or is not as private as asked.
        """
        repo_id = hub.full_id(repo_id, token)

        def files_for(card: str | None) -> dict[str, bytes]:
            kept = metadata_of(card or "")
            if (own := self.config.license) and own != kept.get("license"):
                kept = {key: value for key, value in kept.items() if key not in ("license_name", "license_link")}
            return files_of(self.weights, _said(self.config, kept), self.report, repo_id, kept)

        return hub.push(
            repo_id,
            files_for,
            FILES,
            markers=WEIGHTS.values(),
            message=commit_message or f"Forget-adapter for {self.config.base_model[:60]}",
            private=private,
            revision=revision,
            create_pr=create_pr,
            token=token,
        )

    @classmethod
    def from_pretrained(
        cls,
        repo_or_folder: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        subfolder: str | None = None,
    ) -> ForgetAdapter:
        """Loads an adapter from a folder or from the Hub; of a repository only our files, and all of one commit.

        Args:
            repo_or_folder: a folder that `save_pretrained` wrote, or `user/name` on the Hub.
            revision: on the Hub: commit, tag or branch; `main` if not given.
            token: on the Hub: instead of the one that `hf auth login` saved; False for none.
            cache_dir: instead of the Hub client's own cache.
            local_files_only: use only what is in the cache.
            subfolder: where in the folder or repository the adapter is.

        Raises:
            AdapterError: if files are missing, damaged, tampered with, too large or too new.
            HubError: if a repository's files can't be had; it says why and what to do.
            ValueError: if the subfolder leads out of the folder or repository.
        """
        if not isinstance(repo_or_folder, str | Path):
            raise AdapterError(f"expected a folder or a Hub id, got {type(repo_or_folder).__name__}")
        if is_file(repo_or_folder):
            raise AdapterError(f"{repo_or_folder}: a file; expected the folder that save_pretrained wrote, or a Hub id")
        folder = Path(repo_or_folder, hub.inside(subfolder))
        if not Path(repo_or_folder).is_dir():
            if isinstance(repo_or_folder, Path):
                raise AdapterError(f"{folder}: no such folder; give a Hub id as text, a folder that exists as a path")
            folder = hub.fetch(
                repo_or_folder, (CONFIG,), (REPORT,), one_of=tuple(WEIGHTS.values()), max_bytes=MAX_BYTES,
                revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
                subfolder=subfolder,
            )  # fmt: skip
        return cls(*read_folder(folder))

    def load_base(self, base: str | Path | None = None, *, device: str | None = None) -> AdaptedClip:
        """The base model with this adapter in effect.

        Args:
            base: where the base is, if not where the config says: a Hub id or a folder.

        Raises:
            WrongBaseError: if what was loaded is not the model that the adapter was made for.
        """
        revision = self.config.base_revision if base is None else None
        source = str(base or self.config.base_model)
        if base is None and source != EMBEDDED and revision is None and not Path(source).is_dir():
            raise InputError(
                f"the base {brief(source)} was a local folder when this adapter was made, or an endpoint. Say where a "
                "folder is now: load_base(base=FOLDER), export(..., base=FOLDER), or --model FOLDER (--base FOLDER for "
                "export). For an endpoint write EmbeddingBlackBox(...).under(adapter), or adapter.edit_vectors(array)"
            )
        model = ClipBlackBox(source, template=self.config.template, revision=revision, device=device)
        return AdaptedClip(model, self)

    def export(self, folder: str | Path, *, base: str | Path | None = None, hardened: bool = False) -> None:
        """Writes a plain transformers checkpoint that forgets by itself; nothing of ours is needed to load it.

        Args:
            folder: a new or empty folder.
            base: where the base is, if not where the config says.
            hardened: for a context, also project the forgotten names out of the text projection, so that leaving
                the context out does not bring them back.

        Raises:
            ValueError: if the folder holds something, the base's family or tokenizer can't carry a context, or an
                edit is to be hardened, which needs none.
            WrongBaseError: if the base is not the model that the adapter was made for.
        """
        check_out(Path(folder))
        export(self.weights, self.config, self.load_base(base).model, folder, hardened)

    def edit_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Text features that somebody else computed, edited as `TextEdit` says. No model is loaded.

        Args:
            vectors: `(n, width)` or `(width,)` floats, of the text side; image vectors stay as they are.

        Returns:
            The same shape, unit length; float64 for float64, else float32.

        Raises:
            ValueError: if this is a context, the width is another, or a vector is zero or not finite.
        """
        if self.edit is None:
            raise InputError(
                "this adapter is a context, which works inside the text tower and can't be applied to vectors; "
                "use load_base().text_features(texts), or make an edit: unlearn(..., method='edit')"
            )
        return edit_vectors(self.edit, vectors)

    def applied_to(self, model: BlackBox) -> AdaptedBox:
        """`model` under this adapter, as a black box.

        A context brings its own template, an edit leaves the model's as it is.

        Raises:
            WrongBaseError: if `model` is not the base that this adapter was made for.
            ValueError: if this is an edit and `model` answers with scores only.
        """
        self.check_base(model)
        if self.edit is not None:
            return AdaptedBox(model, edit=self.edit)
        return AdaptedBox(model.with_template(self.config.template), self.context)

    def check_base(self, model: BlackBox) -> None:
        """Raises: WrongBaseError: if `model` is not the base that this adapter was made for."""
        check_box(model)
        mine, theirs = torch.tensor(self.config.base_fingerprint), torch.tensor(model.fingerprint())
        if self.kind == "context":
            same = model.dim == self.config.dim
        else:
            same = getattr(model, "width", self.config.width) == self.config.width
        same = same and mine.shape == theirs.shape
        if not (same and torch.cosine_similarity(mine, theirs).min() >= SAME_BASE):  # NaN is refused too
            raise WrongBaseError(
                f"this adapter was made for {brief(self.config.base_model)}, and {brief(model.model_id)} is another "
                "model; load the adapter's own base, or train an adapter for this one"
            )


def _said(config: AdapterConfig, kept: dict[str, Any]) -> AdapterConfig:
    """The config with the licence and data sets that a card says and it does not; one can't say just anything."""
    for key in ("license", "datasets"):
        if kept.get(key) and not getattr(config, key):
            with suppress(AdapterError):
                config = replace(config, **{key: kept[key]})
    return config


def _check(name: str, tensor: Tensor, expected: tuple[int | None, ...]) -> None:
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != expected:
        got = f"{tuple(tensor.shape)} {tensor.dtype}"
        raise AdapterError(f"{name}: expected shape {expected} in float32, got {got}")
    if not torch.isfinite(tensor).all():
        raise AdapterError(f"{name}: holds NaN or infinite numbers; the adapter is damaged, get it again")
    if tensor.abs().max() > MAX_VALUE:
        raise AdapterError(f"{name}: holds numbers beyond {MAX_VALUE:,.0f}, no adapter's are so large")


def base_name(model_id: str) -> str:
    """How a base is named in public: a Hub id as it is, of a local folder only its name."""
    return Path(model_id).name if model_id != EMBEDDED and Path(model_id).is_dir() else model_id
