"""Ids on the Hugging Face Hub: what `huggingface_hub` accepts, as a question; and paths inside a repository."""

from __future__ import annotations

import re

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

HEX = re.compile("[0-9a-f]{40}")


def is_repo_id(value: object) -> bool:
    """Whether a value is a Hub id such as `user/pets`, or a name alone such as `apache-2.0`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not (isinstance(value, str) and value.isascii()):
        return False
    try:
        validate_repo_id(value)
    except HFValidationError:
        return False
    return True


def is_commit(value: object) -> bool:
    """Whether a value is a commit on the Hub: 40 hexadecimal digits."""
    return isinstance(value, str) and HEX.fullmatch(value) is not None


def inside(subfolder: str | None) -> str:
    """A subfolder of a folder or repository as `a/b`; slashes around it don't count, and `""` is the folder itself.

    Raises:
        InputError: if it is not text, or leads, or may lead, out of the folder.
    """
    if not isinstance(subfolder, str | None):
        raise InputError(f"subfolder must be text, got {brief(subfolder)}")
    parts = [part for part in (subfolder or "").split("/") if part not in ("", ".")]
    if any(part == ".." or "\\" in part or "\0" in part for part in parts) or re.match("[A-Za-z]:", "/".join(parts)):
        raise InputError(
            f"subfolder {subfolder!r}: expected a path inside the folder or repository, such as adapters/one"
        )
    return "/".join(parts)
