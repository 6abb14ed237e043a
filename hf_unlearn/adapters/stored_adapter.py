"""An adapter as its files: found, read, checked, written and pushed. `info`, `pull` and `push` need no torch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn.adapters.config import CONFIG, AdapterConfig, read_config
from hf_unlearn.adapters.model_card import metadata_of, render_card
from hf_unlearn.adapters.report_plot import PLOT, draw_picture, is_picture_of
from hf_unlearn.adapters.report_schema import read_report
from hf_unlearn.adapters.storage import CARD, FILES, MAX_BYTES, REPORT, check_out, is_there, to_json
from hf_unlearn.adapters.weights import WEIGHTS, Weights, check_weights, read_weights, serialize_weights
from hf_unlearn.arguments import is_file, is_folder
from hf_unlearn.errors import AdapterError
from hf_unlearn.files import add_files, optional, reading, replace_files, whole
from hf_unlearn.hub.ids import inside

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter as its files hold it.

    Attributes:
        weights: arrays by name, see `hf_unlearn.adapters.weights`.
        config: what it is for and how it was made.
        report: the evaluation's rows, if it was evaluated.
        picture: the PNG that was saved with the adapter; used while it shows this report.

    Raises:
        AdapterError: if the weights are not finite, or not those that the config describes.
    """

    weights: Weights
    config: AdapterConfig
    report: dict[str, Any] | None = None
    picture: bytes | None = None

    def __post_init__(self) -> None:
        check_weights(self.weights, self.config)

    @classmethod
    def read(cls, folder: Path) -> StoredAdapter:
        """Reads a folder; the config's kind says which file the weights are in.

        Raises:
            AdapterError: if files are missing, damaged, tampered with, too large or too new.
            StorageError: if a file can't be read.
        """
        with reading(folder):
            if not is_there(whole(folder), CONFIG):
                raise AdapterError(f"{folder}: no {CONFIG}; expected a folder that save_pretrained wrote")
            folder = whole(folder)
            config = read_config(folder / CONFIG)
            name = WEIGHTS[config.kind]
            if not is_there(folder, name):
                raise AdapterError(
                    f"{folder}: no {name}, which an adapter of kind {config.kind} has; get the adapter again"
                )
            report = read_report(folder / REPORT) if is_there(folder, REPORT) else None
            picture = (folder / PLOT).read_bytes() if report and is_there(folder, PLOT) else None
            return cls(read_weights(folder / name, config.kind), config, report, picture)

    def files(self, repo_id: str | None = None, kept: dict[str, Any] | None = None) -> dict[str, bytes]:
        """Every file of the adapter, name -> content. A card or picture that fails is left out, with a warning.

        Args:
            repo_id: the repository that the card names, if any.
            kept: metadata of an earlier card that the new one keeps.
        """
        picture = {PLOT: self._picture} if self._picture else {}
        return self._essential() | picture | self._card(bool(picture), repo_id, kept)

    def save(self, folder: Path) -> None:
        """Writes the adapter in place of one that was there; other files stay.

        What loads and the card come first, then the picture, so a failing picture loses nothing else.

        Raises:
            InputError: if the folder holds something and is no adapter.
            StorageError: if it can't be written; what was there stays as it was.
        """
        check_out(folder)
        card = self._card(drawn=False)
        replace_files(folder, self._essential() | card, FILES)
        if picture := self._picture:
            later = {PLOT: picture} | (card and self._card(drawn=True))
            optional(PLOT, lambda: add_files(folder, later))

    def push(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        token: str | bool | None = None,
    ) -> CommitInfo:
        """Pushes all files in one commit; see `ForgetAdapter.push_to_hub`."""
        from hf_unlearn.hub import client as hub

        repo_id = hub.full_id(repo_id, token)

        def files_for(card: str | None) -> dict[str, bytes]:
            kept = metadata_of(card or "")
            if (license := self.config.license) and license != kept.get("license"):
                kept = {key: value for key, value in kept.items() if key not in ("license_name", "license_link")}
            return replace(self, config=add_card_facts(self.config, kept)).files(repo_id, kept)

        return hub.push(
            repo_id, files_for, FILES, markers=WEIGHTS.values(),
            message=commit_message or f"Forget-adapter for {self.config.base_model[:60]}",
            private=private, revision=revision, create_pr=create_pr, token=token,
        )  # fmt: skip

    @cached_property
    def _picture(self) -> bytes | None:
        """The report's picture: the saved one if it shows this report, else a new one; None without a report."""
        if not self.report:
            return None
        if self.picture and is_picture_of(self.picture, self.report):
            return self.picture
        report = self.report
        return optional(PLOT, lambda: draw_picture(report))

    def _essential(self) -> dict[str, bytes]:
        """The files that loading needs."""
        report = {REPORT: to_json(self.report)} if self.report else {}
        weights, config = serialize_weights(self.weights), asdict(self.config)
        if self.config.base_subfolder is None:  # earlier versions warn of the key
            del config["base_subfolder"]
        return {CONFIG: to_json(config), WEIGHTS[self.config.kind]: weights, **report}

    def _card(self, drawn: bool, repo_id: str | None = None, kept: dict[str, Any] | None = None) -> dict[str, bytes]:
        config = asdict(self.config)
        card = optional(CARD, lambda: render_card(config, self.report, repo_id, drawn, kept).encode())
        return {} if card is None else {CARD: card}


def find_folder(
    repo_or_folder: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    subfolder: str | None = None,
    picture: bool = False,
) -> Path:
    """The folder that holds an adapter: on this disk, or in the Hub's cache after fetching its files of one commit.

    Args:
        picture: whether the report's picture is fetched too; for the others see `ForgetAdapter.from_pretrained`.

    Raises:
        AdapterError: if it is neither a folder nor a Hub id, or a file in the repository is too large.
        HubError: if the files are not available.
        InputError: if the subfolder leads out of the folder or repository.
    """
    from hf_unlearn.hub import client as hub

    if not isinstance(repo_or_folder, str | Path):
        raise AdapterError(f"expected a folder or a Hub id, got {type(repo_or_folder).__name__}")
    if is_file(repo_or_folder):
        raise AdapterError(f"{repo_or_folder}: a file; expected the folder that save_pretrained wrote, or a Hub id")
    folder = Path(repo_or_folder, inside(subfolder))
    if is_folder(repo_or_folder):
        return folder
    if isinstance(repo_or_folder, Path):
        raise AdapterError(f"{folder}: no such folder; give a Hub id as text, a folder that exists as a path")
    return hub.fetch(
        repo_or_folder, (CONFIG,), (REPORT, PLOT) if picture else (REPORT,), one_of=tuple(WEIGHTS.values()),
        max_bytes=MAX_BYTES, revision=revision, token=token, cache_dir=cache_dir,
        local_files_only=local_files_only, subfolder=subfolder,
    )  # fmt: skip


def add_card_facts(config: AdapterConfig, kept: dict[str, Any]) -> AdapterConfig:
    """Adds the licence and data sets that a card states and the config does not; invalid ones are left out."""
    for key in ("license", "datasets"):
        if kept.get(key) and not getattr(config, key):
            with suppress(AdapterError):
                config = replace(config, **{key: kept[key]})
    return config
