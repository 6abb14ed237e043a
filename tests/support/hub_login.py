"""The loopback Hub as an OpenID provider: the log-in that a Space with `hf_oauth` sends its visitors through."""

from __future__ import annotations

import json
import secrets
import time
from base64 import b64decode
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey

if TYPE_CHECKING:
    from tests.support.hub_server import Handler

CLIENT_ID, CLIENT_SECRET, SCOPES = "space", "the Space's own secret", "openid profile contribute-repos"
KEY = ECKey.generate_key("P-256", {"kid": "loopback", "use": "sig"})
CODES: dict[str, dict[str, str]] = {}  # a code is good for one token


def settings(endpoint: str) -> dict[str, str]:
    """What Hugging Face sets in a Space with `hf_oauth`."""
    return {
        "SYSTEM": "spaces", "SPACE_ID": "user/space", "OPENID_PROVIDER_URL": endpoint, "OAUTH_SCOPES": SCOPES,
        "OAUTH_CLIENT_ID": CLIENT_ID, "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
    }  # fmt: skip


def metadata(handler: Handler) -> None:
    here = handler.hub.endpoint
    handler.send(200, {
        "issuer": here, "authorization_endpoint": f"{here}/oauth/authorize", "token_endpoint": f"{here}/oauth/token",
        "jwks_uri": f"{here}/oauth/keys", "id_token_signing_alg_values_supported": ["ES256"],
    })  # fmt: skip


def keys(handler: Handler) -> None:
    handler.send(200, {"keys": [KEY.as_dict(private=False)]})


def authorize(handler: Handler) -> None:
    """The page that asks who it is; each user is one link back to the Space."""
    from tests.support.hub_server import TOKENS

    asked = {key: values[0] for key, values in handler.query.items()}
    handler.expect(asked["client_id"] == CLIENT_ID and asked["scope"] == SCOPES, f"not what was registered: {asked}")
    links = ""
    for token, user in TOKENS.items():
        code = secrets.token_hex(8)
        CODES[code] = {"token": token, "user": user, "redirect": asked["redirect_uri"], "nonce": asked["nonce"]}
        back = f"{asked['redirect_uri']}&{urlencode({'code': code, 'state': asked['state']})}"
        links += f'<p><a href="{back.replace("&", "&amp;")}">Authorize as {user}</a></p>'
    handler.send(200, f"<!doctype html><title>Log in</title>{links}".encode(), Content_Type="text/html")


def token(handler: Handler) -> None:
    asked = {key: values[0] for key, values in parse_qs(handler.body.decode()).items()}
    name, secret = b64decode(handler.headers["Authorization"].removeprefix("Basic ")).decode().split(":")
    known = CODES.pop(asked["code"], None)
    handler.expect((unquote(name), unquote(secret)) == (CLIENT_ID, CLIENT_SECRET), "unknown client")
    handler.expect(known is not None and known["redirect"] == asked["redirect_uri"], "unknown code")
    assert known is not None
    now, user = int(time.time()), known["user"]
    claims = {
        "iss": handler.hub.endpoint, "aud": CLIENT_ID, "sub": user, "nonce": known["nonce"], "iat": now,
        "exp": now + 60, "name": user.title(), "preferred_username": user, "picture": f"{handler.hub.endpoint}/none",
        "profile": f"{handler.hub.endpoint}/{user}",
    }  # fmt: skip
    signed = jwt.encode({"alg": "ES256", "kid": "loopback"}, claims, KEY)
    handler.send(200, json.dumps({
        "access_token": known["token"], "token_type": "bearer", "expires_in": 3600, "scope": SCOPES, "id_token": signed,
    }).encode(), Content_Type="application/json")  # fmt: skip


ROUTES = [
    ("GET", "/.well-known/openid-configuration", metadata),
    ("GET", "/oauth/keys", keys),
    ("GET", "/oauth/authorize", authorize),
    ("POST", "/oauth/token", token),
]
