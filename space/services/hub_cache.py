"""The cache of downloads from the Hub: bounded, the least recently used revision removed first.

It is separate from the machine's cache of the Hub, which belongs to the machine's owner.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock

from huggingface_hub import CachedRepoInfo, constants, scan_cache_dir, try_to_load_from_cache

from hf_unlearn.errors import InputError
from space.inputs.disk import bytes_setting, file_size

VARIABLE, MOST_BYTES = "HF_UNLEARN_SPACE_CACHE", 10_000_000_000
MOST_REVISIONS = 1_000


@dataclass
class _Held:
    """A repository in use: its bytes when a user last came or left, and the bytes each user has yet to download."""

    bytes: int
    missing: list[int] = field(default_factory=list)

    def promised(self) -> int:
        return self.bytes + sum(self.missing)


class HubCache:
    """A folder with the layout of the Hub's client.

    Args:
        folder: the cache. Default: beside the cached vocabularies.
        most: bytes. Default: `HF_UNLEARN_SPACE_CACHE`, or 10 GB.

    Raises:
        InputError: if the variable is no number of bytes.
    """

    def __init__(self, folder: Path | None = None, most: int | None = None) -> None:
        self.folder = folder or _beside_vocabularies()
        self.most = bytes_setting(VARIABLE, MOST_BYTES) if most is None else most
        self._held: dict[str, _Held] = {}  # by the repository's folder
        self._lock = RLock()

    @contextmanager
    def holding(self, repo_id: str, commit: str, files: Mapping[str, int]) -> Iterator[Path]:
        """Makes room for files of a commit and protects the repository until the block ends.

        If the block fails, the commit's files are removed.

        Args:
            files: path -> bytes.

        Yields:
            The folder to download into.

        Raises:
            InputError: if the files are larger than the bound, or others use the room.
        """
        name = f"models--{repo_id.replace('/', '--')}"
        if (size := sum(files.values())) > self.most:
            raise InputError(f"{repo_id[:80]} has {size / 1e6:,.1f} MB to fetch; this Space fetches up to "
                             f"{self.most / 1e6:,.1f} MB. Use hf_unlearn on a machine of yours for it.")  # fmt: skip
        missing = self._hold(name, repo_id, commit, files)
        try:
            yield self.folder
        except BaseException:
            self._leave(name, missing)
            self._drop(name, commit)
            raise
        self._touch(name, commit)
        self._leave(name, missing)

    def used(self) -> int:
        """Bytes on disk, with partial downloads."""
        return sum(self._sizes().values())

    def _hold(self, name: str, repo_id: str, commit: str, files: Mapping[str, int]) -> int:
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            missing = sum(size for path, size in files.items() if not self._has(repo_id, path, commit))
            self._evict(missing, name, commit)
            self._held.setdefault(name, _Held(self._sizes().get(name, 0))).missing.append(missing)
            return missing

    def _leave(self, name: str, missing: int) -> None:
        with self._lock:
            held = self._held[name]
            held.missing.remove(missing)
            held.bytes = self._sizes().get(name, 0)
            if not held.missing:
                del self._held[name]

    def _evict(self, missing: int, name: str, commit: str) -> None:
        """Removes leftovers of crashes, then the least recently used revisions, until the missing bytes fit."""
        if self._fits(missing):
            return
        self._sweep(name)
        revisions = [
            (revision.snapshot_path.stat().st_mtime, repo.repo_path.name, revision.commit_hash)
            for repo in self._scan()
            for revision in repo.revisions
            if repo.repo_path.name not in self._held and (repo.repo_path.name, revision.commit_hash) != (name, commit)
        ]
        for _, *oldest in sorted(revisions):
            if self._fits(missing):
                return
            self._delete(*oldest)
        if not self._fits(missing):
            raise InputError("This Space's disk is full of what other visitors use right now; try again in a minute.")

    def _fits(self, missing: int) -> bool:
        sizes = self._sizes()
        for name, held in self._held.items():
            sizes[name] = max(sizes.get(name, 0), held.promised())
        few = all(len(list(self.folder.glob(kind))) < MOST_REVISIONS for kind in ("models--*", "models--*/snapshots/*"))
        return few and sum(sizes.values()) + missing <= self.most

    def _sweep(self, coming: str) -> None:
        """Removes leftovers of crashes: partial downloads, files of no commit, repositories without commits."""
        whole = {repo.repo_path.name: repo for repo in self._scan()}
        for folder in [path for path in self.folder.glob("models--*") if path.name not in (coming, *self._held)]:
            if (repo := whole.get(folder.name)) is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            linked = {file.blob_path for revision in repo.revisions for file in revision.files}
            for blob in (folder / "blobs").glob("*"):
                if not {blob, blob.resolve()} & linked:
                    blob.unlink(missing_ok=True)

    def _drop(self, name: str, commit: str) -> None:
        with self._lock:
            if name not in self._held:
                self._delete(name, commit)

    def _delete(self, name: str, commit: str) -> None:
        for repo in self._scan():  # a copy of a repository has commits of the same names
            if repo.repo_path.name == name and commit in {revision.commit_hash for revision in repo.revisions}:
                info = scan_cache_dir(self.folder)
                replace(info, repos=frozenset({repo})).delete_revisions(commit).execute()
        if not (self.folder / name).exists():
            shutil.rmtree(self.folder / ".locks" / name, ignore_errors=True)

    def _touch(self, name: str, commit: str) -> None:
        with self._lock:
            if (folder := self.folder / name / "snapshots" / commit).is_dir():
                os.utime(folder)

    def _has(self, repo_id: str, path: str, commit: str) -> bool:
        return isinstance(try_to_load_from_cache(repo_id, path, self.folder, commit), str)

    def _scan(self) -> list[CachedRepoInfo]:
        return list(scan_cache_dir(self.folder).repos) if self.folder.is_dir() else []

    def _sizes(self) -> dict[str, int]:
        """Bytes on disk of every folder in the cache."""
        return {folder.name: sum(map(file_size, folder.rglob("*"))) for folder in self.folder.glob("*")}


def _beside_vocabularies() -> Path:
    given = os.environ.get("HF_UNLEARN_CACHE")
    return (Path(given).expanduser() if given else Path(constants.HF_HOME, "hf_unlearn")) / "space"
