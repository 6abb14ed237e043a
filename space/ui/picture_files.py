"""The pictures of the first screen as files that browsers keep."""

from __future__ import annotations

import io
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from space.services.pictures import find_picture

KEPT = {"Cache-Control": "public, max-age=86400"}


def serve(request: Request) -> Response:
    """One picture as PNG."""
    try:
        return Response(_png(request.path_params["key"]), media_type="image/png", headers=KEPT)
    except ValueError as error:
        return PlainTextResponse(str(error), 404)


@lru_cache(maxsize=1_024)
def _png(key: str) -> bytes:
    file = io.BytesIO()
    find_picture(key).load().save(file, "PNG", optimize=True)
    return file.getvalue()


ROUTE = Route("/pictures/{key}.png", serve)
