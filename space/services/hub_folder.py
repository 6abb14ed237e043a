"""A folder of a stranger's repository on the Hub, at one commit: what is in it, read before weights are fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub.utils import SafetensorsFileMetadata

NO_HEADER = (AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)  # in the Hub's client


@contextmanager
def naming(model: str, download: Path | None = None) -> Iterator[None]:
    """Within the block, any error of a model's files is an `InputError` that names the model, not its download."""
    try:
        yield
    except (ValueError, OSError) as error:
        words = str(error)
        if download is not None:
            words = words.replace(f"{download}/", "").replace(str(download), model)
        raise InputError(words) from error
    except Exception as error:  # transformers raises anything at configs that fit no weights
        raise InputError(f"{model}: its files fit no CLIP ({type(error).__name__}); choose another one.") from error


@dataclass(frozen=True)
class HubFolder:
    """The files of one folder. Everything is read without a token.

    Attributes:
        repo_id, commit, subfolder: which one; `""` is the repository itself.
        sizes: name of a file -> bytes.
    """

    repo_id: str
    commit: str
    subfolder: str
    sizes: dict[str, int]

    @classmethod
    def listed(cls, repo_id: str, commit: str, subfolder: str) -> HubFolder:
        """The folder, without files if it does not exist. Errors are those of the Hub's client."""
        from huggingface_hub import HfApi, errors

        start = f"{subfolder}/" if subfolder else ""
        try:
            tree = list(HfApi(token=False).list_repo_tree(repo_id, subfolder or None, revision=commit))
        except errors.EntryNotFoundError:
            tree = []
        sizes = {file.path.removeprefix(start): file.size for file in tree if hasattr(file, "size")}
        return cls(repo_id, commit, subfolder, {name: size for name, size in sizes.items() if "/" not in name})

    def __str__(self) -> str:
        return f"{self.repo_id[:80]}, subfolder {self.subfolder[:80]}" if self.subfolder else self.repo_id[:80]

    def path(self, name: str) -> str:
        """A file's path in the repository."""
        return f"{self.subfolder}/{name}" if self.subfolder else name

    def paths(self, names: Iterable[str]) -> dict[str, int]:
        """Path in the repository -> bytes, of the files with these names."""
        return {self.path(name): self.sizes[name] for name in names}

    def fetch(self, name: str, cache: Path) -> Path:
        """A file in the cache."""
        from huggingface_hub import hf_hub_download

        path = self.path(name)
        return Path(hf_hub_download(self.repo_id, path, revision=self.commit, cache_dir=cache, token=False))

    def read_json(self, name: str, cache: Path) -> dict[str, Any]:
        """The content of a file, which is kept in the cache.

        Raises:
            InputError: if it is no JSON object.
        """
        try:
            content = json.loads(self.fetch(name, cache).read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise InputError(f"{self}: {name} is damaged; choose another model.")
        return content

    def read_header(self, name: str) -> SafetensorsFileMetadata:
        """The names and shapes of the tensors in a file of safetensors, whose content is not fetched.

        Raises:
            InputError: if it is no such file.
        """
        from huggingface_hub import HfApi, errors

        try:
            return HfApi(token=False).parse_safetensors_file_metadata(
                self.repo_id, self.path(name), revision=self.commit
            )
        except (errors.SafetensorsParsingError, *NO_HEADER):
            raise InputError(f"{self}: its safetensors file is damaged; choose another model.") from None
