"""Pushing a visitor's adapter to the visitor's own account; the token is used and stored nowhere."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter


@lru_cache(maxsize=1)
def can_log_in() -> bool:
    """On a Space with `hf_oauth`; elsewhere with a token in HF_TOKEN that the Hub knows, as Gradio mocks the login."""
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
    """Pushes in one commit; where it is now, as Markdown.

    Raises:
        ValueError: if nobody is logged in, the name is no repository's, or the repository holds something else.
        OSError: if the Hub refuses.
    """
    if not token:
        raise ValueError("Log in first: the adapter goes to your own account.")
    if not re.fullmatch(r"([\w.-]{1,96}/)?[A-Za-z0-9][\w.-]{0,95}", name.strip(), re.A):
        raise ValueError("A repository's name has letters, digits, dots, dashes and underscores only.")
    from hf_unlearn.errors import HubError

    try:
        commit = adapter.push_to_hub(name.strip(), private=private, token=token)
    except HubError as error:
        if error.what == str(error):
            raise
        raise ValueError(f"{error.what}: you may not write there; a name alone goes to your own account") from error
    return f"Pushed: [{commit.repo_url.repo_id}]({commit.repo_url})"
