"""Where the files of a checkpoint are: in a folder, or at one commit of a repository on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_unlearn.hub.client import file_at, files_at


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint. On the Hub each is fetched when it is asked for.

    Attributes:
        name: as the caller gave it: a Hub id, a folder, or `"embedded"`.
        source: what transformers is given: a Hub id or a folder.
        requested: the revision that the caller gave, for messages.
        commit: on the Hub; None for a folder.
        subfolder: where in the repository or folder they are; nothing for the folder itself.
    """

    name: str
    source: str
    requested: str | None = None
    commit: str | None = None
    subfolder: str = ""

    @property
    def place(self) -> dict[str, Any]:
        """What transformers' `from_pretrained` is given beside `source`."""
        return {"revision": self.commit, "subfolder": self.subfolder, "trust_remote_code": False}

    def find(self, file: str) -> Path | None:
        """The path of a file; None if the checkpoint has no such file.

        Raises:
            HubError: if the Hub does not give it, or does not say whether it is there.
        """
        if self.commit is not None:
            return file_at(self.source, self.commit, file, self.subfolder)
        path = Path(self.source, self.subfolder, file)
        return path if path.is_file() else None

    def names(self) -> list[str]:
        """The names of all files, fetched or not.

        Raises:
            HubError: if the Hub does not list them.
        """
        if self.commit is not None:
            return files_at(self.source, self.commit, self.subfolder)
        return [path.name for path in Path(self.source, self.subfolder).iterdir()]

    def folder(self) -> Path:
        """The folder on this disk; for a checkpoint of transformers on the Hub the cache's, with what was fetched."""
        if self.commit is None:
            return Path(self.source, self.subfolder)
        return Path(str(self.find("config.json"))).parent
