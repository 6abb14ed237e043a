"""ForgetAdapter: the learned context with everything needed to use and judge it, on disk and in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hf_unlearn import hub
from hf_unlearn.adapted_box import AdaptedBox
from hf_unlearn.adapter_config import CONFIG, AdapterConfig, AdapterError
from hf_unlearn.adapter_files import CONTEXT, FILES, MAX_BYTES, REPORT, digest, files_of, read_folder, write_folder
from hf_unlearn.black_box import BlackBox
from hf_unlearn.clip import EMBEDDED, ClipBlackBox
from hf_unlearn.data import check_names
from hf_unlearn.export import export

MAX_VALUE = 1_000.0  # token embeddings are about 0.01 to 1
SAME_BASE = 0.99  # least cosine between the fingerprints of one base at two precisions


class WrongBaseError(ValueError):
    """An adapter was about to be applied to a base model that it was not made for."""


@dataclass(frozen=True)
class ForgetAdapter:
    """A context that makes its base model forget. A few kilobytes; the base's weights stay as they are.

    Attributes:
        context: `(m, dim)` float32.
        config: what it is for and how it was made.
        report: the evaluation's rows (`report.json`), if it was evaluated.

    Raises:
        AdapterError: if the context is not finite, not of the configured shape, or not the one that
            the config describes.
    """

    context: Tensor
    config: AdapterConfig
    report: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        expected = (self.config.n_ctx, self.config.dim)
        if self.context.dtype != torch.float32 or tuple(self.context.shape) != expected:
            got = f"{tuple(self.context.shape)} {self.context.dtype}"
            raise AdapterError(f"context: expected shape {expected} in float32, got {got}")
        if not torch.isfinite(self.context).all():
            raise AdapterError("context: holds NaN or infinite numbers; the adapter is damaged, get it again")
        if self.context.abs().max() > MAX_VALUE:
            raise AdapterError(f"context: holds numbers beyond {MAX_VALUE:,.0f}, no token embedding is so large")
        if self.config.context_sha256 != digest(self.context):
            raise AdapterError(f"{CONFIG} and {CONTEXT} don't belong together; get the adapter again")

    def with_report(self, report: dict[str, Any]) -> ForgetAdapter:
        """The same adapter with its evaluation inside: saved beside it, its own row as `config.metrics`.

        Raises:
            ValueError: if no row of the report is about this context.
        """
        own = next((row for row in report["rows"] if row.get("context_sha256") == self.config.context_sha256), None)
        if own is None:
            raise ValueError("the report has no row about this adapter; evaluate it first")
        figures = {key: value for key, value in own.items() if key not in ("name", "queries", "context_sha256")}
        config = replace(self.config, metrics={**self.config.metrics, **figures})
        return replace(self, config=config, report=report)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config, context, card, report and plot; the folder is never seen half-written.

        Raises:
            OSError: if the folder can't be written; what was there stays as it was.
        """
        write_folder(Path(folder), files_of(self.context, self.config, self.report))

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
        return hub.push(
            repo_id,
            files_of(self.context, self.config, self.report, repo_id),
            FILES,
            marker=CONTEXT,
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
        """
        folder = Path(repo_or_folder, subfolder or "")
        if not Path(repo_or_folder).is_dir():
            if isinstance(repo_or_folder, Path):
                raise AdapterError(f"{folder}: no such folder; give a Hub id as text, a folder that exists as a path")
            folder = hub.fetch(
                repo_or_folder, (CONTEXT, CONFIG), (REPORT,), max_bytes=MAX_BYTES, revision=revision, token=token,
                cache_dir=cache_dir, local_files_only=local_files_only, subfolder=subfolder,
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
            raise ValueError(
                f"the base {source!r} was a local folder when this adapter was made; say where it is now: "
                "load_base(base=FOLDER), export(..., base=FOLDER), or --model FOLDER (--base FOLDER for export)"
            )
        model = ClipBlackBox(source, template=self.config.template, revision=revision, device=device)
        return AdaptedClip(model, self)

    def export(self, folder: str | Path, *, base: str | Path | None = None, hardened: bool = False) -> None:
        """Writes a plain transformers checkpoint that forgets by itself; nothing of ours is needed to load it.

        Args:
            folder: a new or empty folder.
            base: where the base is, if not where the config says.
            hardened: also project the forgotten names out of the text projection, so that leaving the context out
                does not bring them back.

        Raises:
            ValueError: if the folder holds something, or the base's family or tokenizer can't carry a context.
            WrongBaseError: if the base is not the model that the adapter was made for.
        """
        export(self.context, self.config, self.load_base(base).model, folder, hardened)

    def applied_to(self, model: BlackBox) -> AdaptedBox:
        """`model` under this adapter, as a black box.

        A context brings its own template, an edit leaves the model's as it is.

        Raises:
            WrongBaseError: if `model` is not the base that this adapter was made for.
            ValueError: if this is an edit and `model` answers with scores only.
        """
        self.check_base(model)
        return AdaptedBox(model.with_template(self.config.template), self.context)

    def check_base(self, model: BlackBox) -> None:
        """Raises: WrongBaseError: if `model` is not the base that this adapter was made for."""
        mine, theirs = torch.tensor(self.config.base_fingerprint), torch.tensor(model.fingerprint())
        same = mine.shape == theirs.shape and model.dim == self.config.dim
        if not (same and torch.cosine_similarity(mine, theirs).min() >= SAME_BASE):  # NaN is refused too
            raise WrongBaseError(
                f"this adapter was made for {self.config.base_model!r}, and {model.model_id!r} is another model; "
                "load the adapter's own base, or train an adapter for this one"
            )


class AdaptedClip:
    """A base model with an adapter in effect, which can be switched off and on.

    Raises:
        WrongBaseError: if the adapter was made for another base.
    """

    def __init__(self, model: ClipBlackBox, adapter: ForgetAdapter) -> None:
        adapter.check_base(model)
        self.model = model.with_template(adapter.config.template)
        self.adapter = adapter
        self.enabled = True

    def classify(self, images: Sequence[Image.Image], labels: Sequence[str]) -> Tensor:
        """Probabilities `(N, len(labels))`, each row summing to 1.

        Raises:
            ValueError: if there is no image or no label, or a label doesn't fit the text tower.
        """
        check_names(labels)
        context = self.adapter.context if self.enabled else self.adapter.context[:0]
        return self.model.log_scores(context[None], self.model.add_images(images), labels)[0].exp().cpu()

    @contextmanager
    def disabled(self) -> Iterator[AdaptedClip]:
        """The plain base model while the block lasts; threads that share this object share the switch."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before


def base_name(model_id: str) -> str:
    """How a base is named in public: a Hub id as it is, of a local folder only its name."""
    return Path(model_id).name if model_id != EMBEDDED and Path(model_id).is_dir() else model_id
