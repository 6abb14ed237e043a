"""Ids on the Hugging Face Hub: what `huggingface_hub` accepts, as a question."""

from __future__ import annotations

import re

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
