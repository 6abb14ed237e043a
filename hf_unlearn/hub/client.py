"""Adapters on the Hugging Face Hub: a few small files, fetched at one commit, pushed in one commit, and listed.

A file that arrives damaged is fetched again, once; network errors are retried by `huggingface_hub` itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelInfo,
    errors,
)
from huggingface_hub import hf_hub_download as download
from huggingface_hub import try_to_load_from_cache as cached_at
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import get_session, validate_repo_id

from hf_unlearn.arguments import whole_number
from hf_unlearn.errors import AdapterError, HubError, InputError
from hf_unlearn.hub.error_messages import explained, named
from hf_unlearn.hub.ids import inside
from hf_unlearn.text import brief

TAG = "hf_unlearn"
CARD, MAX_CARD = "README.md", 2**20


def commit_of(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> str:
    """The commit of a branch or tag; the one seen last if the Hub is out of reach or too busy.

    Raises:
        HubError: if the repository or revision can't be found, here or there.
        InputError: if the revision is not text.
    """
    api = HfApi(token=token)
    if not isinstance(revision, str | None):
        raise InputError(f"revision must be the text of a branch, tag or commit, got {brief(revision)}")
    with explained(repo_id, revision):
        validate_repo_id(repo_id)
        try:
            found = api.resolve_revision(
                repo_id, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
            )
        except errors.HfHubHTTPError as error:
            if error.response.status_code != 429:
                raise
            try:
                found = api.resolve_revision(repo_id, revision=revision, cache_dir=cache_dir, local_files_only=True)
            except errors.RevisionResolutionError:
                raise error from None
        return found.resolved


def files_at(repo_id: str, commit: str, subfolder: str = "") -> list[str]:
    """Names of the files in a repository's folder at a commit.

    Raises:
        HubError: if the Hub does not list them.
    """
    with explained(repo_id, commit):
        listed = HfApi().list_repo_files(repo_id, revision=commit)
    folder = f"{subfolder}/" if subfolder else ""
    return [name for path in listed if path.startswith(folder) and "/" not in (name := path.removeprefix(folder))]


def file_at(repo_id: str, commit: str, name: str, subfolder: str = "") -> Path | None:
    """A file of a repository's folder at a commit, fetched unless it is in the cache; None if there is no such file.

    Raises:
        HubError: if the Hub does not give it, or does not say whether it is there.
    """
    path = f"{subfolder}/{name}" if subfolder else name
    with explained(repo_id):
        if cached_at(repo_id, path, revision=commit) is _CACHED_NO_EXIST:
            return None
        try:
            return Path(download(repo_id, path, revision=commit))
        except errors.RemoteEntryNotFoundError:
            return None


def fetch(
    repo_id: str,
    required: Sequence[str],
    optional: Sequence[str] = (),
    *,
    one_of: Sequence[str] = (),
    max_bytes: int,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    subfolder: str | None = None,
) -> Path:
    """Fetches these files of a repository, all of one commit; returns the folder in the cache that holds them.

    The revision is resolved to its commit once. Once the files are cached, a commit costs no network call, a branch
    or tag one, and neither costs any when offline. Each file is compared with its digest in the repository's listing.

    Args:
        required: without one of these, nothing is fetched.
        optional: fetched if they are there.
        one_of: at least one of these must be there; those that are, are fetched.

    Raises:
        HubError: if the files are not available.
        AdapterError: if a file is larger than `max_bytes`; nothing is fetched then.
        InputError: if the subfolder is no path inside the repository.
    """
    names, place = (*optional, *one_of, *required), inside(subfolder)
    paths = [f"{place}/{name}" if place else name for name in names]
    any_of, needed = paths[len(optional) : len(names) - len(required)], paths[len(names) - len(required) :]
    sha = commit_of(repo_id, revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only)
    with explained(repo_id, revision):
        api = HfApi(token=token)
        one, cached = ([cached_at(repo_id, path, cache_dir, sha) for path in part] for part in (any_of, needed))
        whole = all(isinstance(path, str) for path in cached) and (not one or any(isinstance(p, str) for p in one))
        if not whole:
            if local_files_only:
                raise errors.LocalEntryNotFoundError(needed[0])
            listed = {file.path: file for file in api.get_paths_info(repo_id, paths, revision=sha)}
            files = [file for path in paths if isinstance(file := listed.get(path), RepoFile)]
            there = {file.path for file in files}
            lacking = sorted(set(needed) - there)
            if any_of and not there & set(any_of):
                lacking.append(" or ".join(any_of))
            if lacking:
                raise HubError(
                    f"{named(repo_id, revision)} has no {lacking[0]}: it is no forget adapter, or the adapter "
                    "is in another subfolder; look at the repository's files"
                )
            if large := [file for file in files if file.size > max_bytes]:
                raise AdapterError(
                    f"{repo_id}: {large[0].path} is larger than {max_bytes >> 20} MiB; no forget adapter is, "
                    "so nothing was fetched"
                )
            cached = [*_download(api, repo_id, files, sha, cache_dir)]  # the required ones last
        return Path(str(cached[-1])).parent


def full_id(repo_id: str, token: str | bool | None = None) -> str:
    """`name` as `user/name`, after the token's owner; an id with a slash as it is.

    Raises:
        HubError: if the id is not a Hub id, or no one is logged in.
    """
    with explained(repo_id):
        validate_repo_id(repo_id or "")
        if "/" not in repo_id and token is False:
            raise HubError(f"{repo_id}: without a token its owner is unknown; give user/name, or a token")
        return repo_id if "/" in repo_id else f"{HfApi(token=token).whoami()['name']}/{repo_id}"


def push(
    repo_id: str,
    files_for: Callable[[str | None], Mapping[str, bytes]],
    owned: Collection[str],
    *,
    markers: Collection[str],
    message: str,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | bool | None = None,
) -> CommitInfo:
    """Replaces the `owned` files of a repository by those of `files_for`, in one commit on the commit seen first.

    A missing repository or branch is created. Files that are not `owned` stay. If nothing changed there is no commit,
    and `CommitInfo.oid` is the newest one.

    Args:
        repo_id: `user/name`.
        files_for: what to push, path -> content, given the card that is there, or None.
        owned: all paths of an adapter; those that are not pushed are deleted.
        markers: files by any of which a repository is known to hold an adapter.

    Raises:
        HubError: if the Hub refuses, or someone else committed meanwhile; the repository is then as it was.
        InputError: if the repository holds something else, or its visibility differs from `private`.
    """
    with explained(repo_id, revision):
        api = HfApi(token=token)
        info, branch_is_new = _find_or_create(api, repo_id, revision, private, make=not create_pr)
        there = {file.rfilename for file in info.siblings or ()}
        if (known := there & set(owned) - {CARD}) and not there & set(markers):
            raise InputError(
                f"{repo_id} holds something else ({min(known)}, but no {' or '.join(sorted(markers))}); "
                "nothing was pushed: choose a separate repository for the adapter"
            )
        if private is not None and bool(info.private) != private:
            have, asked = ("private", "public") if info.private else ("public", "private")
            raise InputError(
                f"{repo_id} exists and is {have}, {asked} was asked for; nothing was pushed: change it in the "
                "repository's settings, or leave `private` out"
            )
        files = files_for(_card(api, repo_id, info.sha) if CARD in there else None)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path, content) for path, content in files.items()),
            *(CommitOperationDelete(path) for path in sorted((set(owned) - set(files)) & there)),
        ]
        if revision and branch_is_new:
            api.create_branch(repo_id, branch=revision, revision=info.sha, exist_ok=True)
        return api.create_commit(
            repo_id, operations, commit_message=message, revision=revision, parent_commit=info.sha,
            create_pr=create_pr,
        )  # fmt: skip


def find(base_model: str | None = None, *, limit: int = 30) -> list[ModelInfo]:
    """Lists public adapters on the Hub, of one base model or of any, the most downloaded first.

    Raises:
        InputError: if `limit` is no whole number of at least 1.
        HubError: if the Hub is out of reach.
    """
    limit = whole_number("limit", limit)
    with explained(base_model or "the list of adapters"):
        if base_model:
            validate_repo_id(base_model)
        try:
            get_session().head(HfApi().endpoint, timeout=10)  # the client below tries for half a minute
        except errors.OfflineModeIsEnabled as error:
            raise HubError("the list of adapters is on the Hub, and this run is offline (HF_HUB_OFFLINE)") from error
        wanted = [TAG, f"base_model:adapter:{base_model}"] if base_model else [TAG]
        return list(HfApi(token=False).list_models(filter=wanted, sort="downloads", limit=limit))


def _card(api: HfApi, repo_id: str, sha: str | None) -> str | None:
    """The card of a repository; None without one, or if it is too large to be one."""
    found = api.get_paths_info(repo_id, [CARD], revision=sha)
    if not found or not isinstance(found[0], RepoFile) or found[0].size > MAX_CARD:
        return None
    path = download(repo_id, CARD, revision=sha, token=api.token)
    return Path(path).read_bytes().decode("utf-8-sig", "replace")


def _download(api: HfApi, repo_id: str, files: Sequence[RepoFile], sha: str, cache_dir: str | Path | None) -> list[str]:
    """Downloads files. Those that differ from the listing are fetched again, and never stay wrong in the cache."""

    def get(file: RepoFile, again: bool) -> str:
        return download(repo_id, file.path, revision=sha, cache_dir=cache_dir, token=api.token, force_download=again)

    def wrong() -> list[int]:
        return [i for i, file in enumerate(files) if not _intact(Path(paths[i]).read_bytes(), file)]

    paths = [get(file, again=False) for file in files]
    for i in wrong():
        paths[i] = get(files[i], again=True)
    if damaged := wrong():
        for path in paths:
            Path(path).resolve().unlink(missing_ok=True)
            Path(path).unlink(missing_ok=True)
        raise HubError(f"{repo_id}: {files[damaged[0]].path} arrived damaged twice and was deleted; try again later")
    return paths


def _intact(content: bytes, file: RepoFile) -> bool:
    if file.lfs is not None:
        return hashlib.sha256(content).hexdigest() == file.lfs.sha256
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)  # as git names it
    return blob.hexdigest() == file.blob_id


def _find_or_create(
    api: HfApi, repo_id: str, revision: str | None, private: bool | None, make: bool
) -> tuple[ModelInfo, bool]:
    """The repository, created if it is missing, and whether the branch is still to be created."""
    try:
        return api.model_info(repo_id, revision=revision), False
    except errors.GatedRepoError:
        raise
    except errors.RepositoryNotFoundError:
        if not make:
            raise
        api.create_repo(repo_id, private=private, exist_ok=True)
    except errors.RevisionNotFoundError:
        if not make:
            raise
    return api.model_info(repo_id), revision not in (None, "main")
