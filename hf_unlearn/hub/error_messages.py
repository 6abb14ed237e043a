"""Errors of the Hub's client as one sentence: which repository, what happened, what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from huggingface_hub import errors
from huggingface_hub.errors import HTTPError  # of every answer and every broken connection

from hf_unlearn.errors import HubError

CUT_SHORT = "Consistency check failed"  # of the Hub's client
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Within the block, any error of the Hub's client becomes a `HubError` of one sentence."""
    try:
        yield
    except HubError:
        raise
    except RuntimeError as error:  # the client wraps what goes wrong in an upload
        cause = error.__cause__
        if not isinstance(cause, HTTPError | OSError):
            raise
        raise _explain(cause, repo_id, revision) from error
    except (HTTPError, OSError, errors.HFValidationError, errors.RevisionResolutionError) as error:
        raise _explain(error, repo_id, revision) from error
    except UnicodeEncodeError as error:  # a request's header
        raise HubError(
            f"{repo_id}: the access token has letters that no token has, so it was copied badly",
            ": log in again (hf auth login) or give another",
        ) from error


@contextmanager
def loading(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Within the block, a broken download becomes a `HubError`, wherever it is in the chain of causes.

    transformers reports every broken download as a missing file. Other errors stay unchanged.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        for cause in _chain(error):
            if isinstance(cause, errors.RemoteEntryNotFoundError):
                continue  # a file that a model may lack
            if isinstance(cause, HTTPError) or (isinstance(cause, OSError) and cause.errno in NO_ROOM):
                raise _explain(cause, repo_id, revision) from error
        if CUT_SHORT in str(error):
            raise _explain(error, repo_id, revision) from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def named(repo_id: str, revision: str | None) -> str:
    """The name of a repository in a message."""
    return f"{repo_id} at {revision!r}" if revision else repo_id


def _explain(error: BaseException, repo_id: str, revision: str | None) -> HubError:
    """Which repository, what happened, what to do. Order matters: some errors are kinds of others."""
    repo = named(repo_id, revision)
    cause = error
    while isinstance(cause, errors.RevisionResolutionError | errors.LocalEntryNotFoundError) and cause.__cause__:
        cause = cause.__cause__
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
    if isinstance(cause, errors.HFValidationError):
        return HubError(f"{repo_id!r} is no folder here and no Hub id; expected a folder that exists, or user/name")
    if isinstance(cause, errors.GatedRepoError):
        return HubError(f"{repo} is gated", ": ask for access on its page, then log in (hf auth login) or give a token")
    if isinstance(cause, errors.RepositoryNotFoundError):
        return HubError(
            f"{repo_id}: no such folder here and no such repository on the Hub, or it is private: check the spelling",
            ", or log in (hf auth login) or give a token",
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return HubError(
            f"{repo_id} has no revision {revision!r}: give a branch, tag or commit that it has, or none for the newest"
        )
    if isinstance(cause, errors.RemoteEntryNotFoundError):
        return HubError(
            f"{repo} lacks a file that an adapter has; it is no forget adapter, or its push was not by hf_unlearn"
        )
    if isinstance(cause, errors.LocalTokenNotFoundError):
        return HubError(f"{repo}: a token was asked for and none is saved here", "; log in (hf auth login) or give one")
    if isinstance(
        cause,
        errors.LocalEntryNotFoundError | errors.RevisionResolutionError | errors.OfflineModeIsEnabled,
    ):
        return HubError(
            f"{repo}: no such folder here, and as this run is offline (local_files_only or HF_HUB_OFFLINE) it must be "
            "in the Hub's cache and is not: go online for it once, with the same revision"
        )
    if status == 412:
        return HubError(
            f"{repo}: someone committed while this push was on its way; nothing was overwritten: look, then push again"
        )
    if status in (401, 403):
        return HubError(
            f"{repo}: the Hub refused ({status})", ": log in (hf auth login), or give a token that may do this"
        )
    if status is not None and isinstance(cause, errors.HfHubHTTPError):
        return HubError(f"{repo}: the Hub {_refusal(status, cause)}")
    if isinstance(cause, OSError) and cause.errno in NO_ROOM:
        return HubError(f"{repo}: no room for its files on this disk; make some, or give another cache_dir")
    if CUT_SHORT in str(cause):
        return HubError(f"{repo_id}: a file arrived cut short; nothing half-done is kept: try again")
    if isinstance(cause, HTTPError):
        return HubError(
            f"{repo}: no connection to the Hub, or it broke ({type(cause).__name__}): check the network, then try again"
        )
    return HubError(f"{repo}: {' '.join(str(cause).split())[:300]}")


def _refusal(status: int, error: errors.HfHubHTTPError) -> str:
    """What an answer says; only a temporary error is worth another try."""
    if status in (408, 425, 429) or status >= 500:
        why = "is busy" if status == 429 else "has trouble" if status >= 500 else "timed out"
        return f"{why} (status {status}); nothing half-done is kept: try again in a minute"
    file = _file_of(error)
    if status in (404, 410) and file:
        return f"has no {file} (status {status}): check the names, the revision and the subfolder"
    if status in (404, 410):
        return f"has no such repository or file, or you may not see it (status {status}): check user and name"
    if status == 413:
        return "did not accept this (status 413): it is too large; an adapter has a few kilobytes"
    if status == 416:
        return f"can't resume {file} (status 416): delete it from the Hub's cache"
    return f"did not accept this (status {status}); it would not the next time" + (f": see {file}" if file else "")


def _file_of(error: errors.HfHubHTTPError) -> str:
    """The file that was asked for, by its path in the repository; nothing where the request was for no file."""
    _, _, asked = unquote(error.response.url.path).partition("/resolve/")
    return asked.partition("/")[2]
