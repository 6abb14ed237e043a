"""The push of an adapter to its visitor's account. The token is used once and stored nowhere."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hf_unlearn.errors import HubError, InputError
from hf_unlearn.hub.ids import is_repo_id

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter


@lru_cache(maxsize=1)
def can_log_in() -> bool:
    """Whether visitors can log in: on a Space with `hf_oauth`, elsewhere if HF_TOKEN is a user's token.

    Outside a Space Gradio simulates the log-in with that token.
    """
    if not all(find_spec(name) for name in ("authlib", "itsdangerous")):
        return False
    if os.environ.get("SPACE_ID"):
        return bool(os.environ.get("OAUTH_CLIENT_ID"))
    if not os.environ.get("HF_TOKEN"):
        return False
    from huggingface_hub import whoami
    from huggingface_hub.errors import HTTPError

    try:
        return whoami().get("type") == "user"
    except (HTTPError, OSError, ValueError):
        return False


def push_adapter(adapter: ForgetAdapter, name: str, private: bool, token: str | None) -> str:
    """Pushes an adapter in one commit and returns a link to it, as Markdown.

    Raises:
        ValueError: if the visitor is not logged in, the name is invalid, or the repository holds something else.
        OSError: if the Hub refuses.
    """
    if not token:
        raise InputError("Log in first: the adapter goes to your account.")
    if not is_repo_id(name.strip()):
        raise InputError("A repository's name has letters, digits, dots, dashes and underscores only.")
    try:
        commit = adapter.push_to_hub(name.strip(), private=private, token=token)
    except HubError as error:
        if error.what == str(error):
            raise
        raise InputError(f"{error.what}: you may not write there; a name alone goes to your account") from error
    return f"Pushed: [{commit.repo_url.repo_id}]({commit.repo_url})"
