"""ForgetAdapter: a learned context or a text edit with everything needed to use and evaluate it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.adapters.adapted_clip import AdaptedClip
from hf_unlearn.adapters.base_check import check_base, check_has_base
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.adapters.export.checkpoint import check_out, export
from hf_unlearn.adapters.stored_adapter import StoredAdapter, find_folder
from hf_unlearn.arguments import folder_path, is_folder
from hf_unlearn.edits.vectors import edit_vectors
from hf_unlearn.errors import AdapterError, InputError
from hf_unlearn.models.adapted_box import AdaptedBox
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.device import precision_of
from hf_unlearn.models.embedded import EMBEDDED
from hf_unlearn.models.text_edit import TextEdit, tensors_of
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


@dataclass(frozen=True)
class ForgetAdapter:
    """A context or a text edit that makes its base model forget: a few kilobytes; the base's weights are unchanged.

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
        self.stored()

    def stored(self) -> StoredAdapter:
        """The adapter as its files hold it, with the weights checked.

        Raises:
            AdapterError: see `ForgetAdapter`.
        """
        arrays = {name: _as_array(name, tensor) for name, tensor in tensors_of(self.weights).items()}
        return StoredAdapter(arrays, self.config, self.report)

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

    def with_report(self, report: Mapping[str, Any]) -> ForgetAdapter:
        """The same adapter with its evaluation: saved beside it, its row as `config.metrics`.

        Raises:
            InputError: if no row of the report is about this adapter.
        """
        own = next((row for row in report["rows"] if row.get("weights_sha256") == self.config.weights_sha256), None)
        if own is None:
            raise InputError("the report has no row about this adapter; evaluate it first")
        figures = {key: value for key, value in own.items() if key not in ("name", "queries", "weights_sha256")}
        config = replace(self.config, metrics={**self.config.metrics, **figures})
        return replace(self, config=config, report=dict(report))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config, weights, card and report, then the report's picture; the folder is never half-written.

        An adapter that was there is replaced; other files stay. If the card or picture fails, a warning names it.

        Raises:
            InputError: if the folder holds something and is no adapter; nothing is written.
            StorageError: if the folder can't be written; what was there stays as it was.
        """
        self.stored().save(folder_path("folder", folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
    ) -> CommitInfo:
        """Pushes the adapter to a repository on the Hub: all files in one commit, or none.

        The new card keeps what only the old card says, such as a licence or a person's tags.

        Args:
            repo_id: `user/name`, or `name` alone for your account; created if it does not exist.
            private: whether the repository must be private; an existing one must match.
            revision: the branch, created if it does not exist; default `main`.
            commit_message: the first line of the commit.
            create_pr: open a pull request instead of committing.
            token: in place of the one that `hf auth login` saved; it is stored nowhere.

        Returns:
            The commit. If nothing changed, no commit is made and `oid` is the newest one.

        Raises:
            HubError: if the Hub refuses or can't be reached, or someone else committed meanwhile.
            InputError: if the repository holds something else, or its visibility differs from `private`.
        """
        return self.stored().push(
            repo_id, private=private, revision=revision, commit_message=commit_message, create_pr=create_pr,
            token=token,
        )  # fmt: skip

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
        """Loads an adapter from a folder or from the Hub; only its files are fetched, all of one commit.

        Args:
            repo_or_folder: a folder that `save_pretrained` wrote, or `user/name` on the Hub.
            revision: on the Hub: commit, tag or branch; default `main`.
            token: on the Hub: in place of the one that `hf auth login` saved; False for none.
            cache_dir: in place of the default cache of the Hub's client.
            local_files_only: use only what is in the cache.
            subfolder: where in the folder or repository the adapter is.

        Raises:
            AdapterError: if files are missing, damaged, tampered with, too large or too new.
            HubError: if a repository's files are not available; the message says why and what to do.
            InputError: if the subfolder leads out of the folder or repository.
        """
        folder = find_folder(
            repo_or_folder, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
            subfolder=subfolder,
        )  # fmt: skip
        stored = StoredAdapter.read(folder)
        tensors = {name: torch.from_numpy(array.copy()) for name, array in stored.weights.items()}
        weights = tensors["context"] if stored.config.kind == "context" else TextEdit.from_tensors(tensors)
        return cls(weights, stored.config, stored.report)

    def load_base(
        self,
        base: str | Path | None = None,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        device: str | None = None,
        dtype: str = "float32",
    ) -> AdaptedClip:
        """The base model with this adapter in effect.

        Args:
            base: a Hub id or a folder; default: as the config says.
            revision, subfolder: of the base; default: as the config says, and none where a base is given.
            device, dtype: see `ClipBlackBox`.

        Raises:
            WrongBaseError: if the loaded model is not the one that the adapter was made for, or scores made it.
            MissingBaseError: if the config names a folder that is not here.
            InputError: if `base` is neither text nor a path; a ValueError.
        """
        if not isinstance(base, str | PathLike | None):
            raise InputError(
                f"base must be a Hub id or a folder, got {type(base).__name__}; a loaded model is used as "
                "model.under(adapter)"
            )
        source, here = str(base or self.config.base_model), is_folder(base or self.config.base_model)
        if base is None:
            revision = revision or (None if here else self.config.base_revision)
            subfolder = self.config.base_subfolder if subfolder is None else subfolder
        check_has_base(self.config, base is not None or source == EMBEDDED or revision is not None or here)
        model = ClipBlackBox(
            source, template=self.config.template, revision=revision, subfolder=subfolder, device=device, dtype=dtype
        )
        return AdaptedClip(model, self)

    def export(
        self,
        folder: str | Path,
        *,
        base: str | Path | None = None,
        revision: str | None = None,
        subfolder: str | None = None,
        hardened: bool = False,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        """Writes a plain transformers checkpoint that forgets by itself; loading it needs no hf_unlearn.

        Args:
            folder: a new or empty folder.
            base: a Hub id or a folder; default: as the config says.
            revision, subfolder: of the base, as for `load_base`.
            hardened: for a context, also project the forgotten names out of the text projection, so that leaving
                the context out does not bring them back.
            device: where the base computes what the export is compared with; see `ClipBlackBox`.
            dtype: precision of the weights on disk, float32, float16 or bfloat16.

        Raises:
            InputError: if the folder holds something, the dtype is unknown, or an edit is to be hardened: it needs no
                hardening.
            ExportError: if the base's family or tokenizer can't carry a context.
            WrongBaseError: if the base is not the model that the adapter was made for.
        """
        check_out(folder_path("folder", folder))
        stored = precision_of(dtype)
        model = self.load_base(base, revision=revision, subfolder=subfolder, device=device).model
        export(self.weights, self.config, model, folder, hardened, stored)

    def edit_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Edits text features from elsewhere as `TextEdit` says. No model is loaded.

        Args:
            vectors: `(n, width)` or `(width,)` floats, of the text side; image vectors need no edit.

        Returns:
            The same shape, unit length; float64 for float64, else float32.

        Raises:
            InputError: if this is a context, the width differs, or a vector is zero or not finite.
        """
        if self.edit is None:
            raise InputError(
                "this adapter is a context, which works inside the text tower and can't be applied to vectors; "
                "use load_base().text_features(texts), or make an edit: unlearn(..., method='edit')"
            )
        return edit_vectors(self.edit, vectors)

    def applied_to(self, model: BlackBox) -> AdaptedBox:
        """`model` under this adapter, as a black box.

        A context comes with its template; an edit keeps the model's.

        Raises:
            WrongBaseError: if `model` is not the base that this adapter was made for.
            InputError: if this is an edit and `model` answers with scores only.
        """
        self.check_base(model)
        if self.edit is not None:
            return AdaptedBox(model, edit=self.edit)
        return AdaptedBox(model.with_template(self.config.template), self.context)

    def check_base(self, model: BlackBox) -> None:
        """Raises: WrongBaseError: if `model` is not the base that this adapter was made for."""
        check_base(self.config, model)


def check_adapter(adapter: object) -> ForgetAdapter:
    """Returns the adapter. Raises: InputError: if it is something else, such as the path of one."""
    if not isinstance(adapter, ForgetAdapter):
        raise InputError(f"expected an adapter, got {brief(adapter)}; load it: ForgetAdapter.from_pretrained(...)")
    return adapter


def _as_array(name: str, tensor: Tensor) -> np.ndarray:
    if tensor.dtype != torch.float32:
        raise AdapterError(f"{name}: expected float32, got shape {tuple(tensor.shape)} {tensor.dtype}")
    array: np.ndarray = tensor.detach().cpu().contiguous().numpy()
    return array


def base_name(model_id: str) -> str:
    """The public name of a base: a Hub id unchanged, of a local folder only its name."""
    return Path(model_id).name if model_id != EMBEDDED and is_folder(model_id) else model_id
