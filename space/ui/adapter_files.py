"""The library's adapters as zips, so that what a card says works on any machine."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from space.services.adapter_store import AdapterStore
from space.services.downloads import zip_adapter_as
from space.views.library import name_of


def route(store: AdapterStore) -> Route:
    """Serves each adapter of the library by its key; no visitor's adapter is among them."""

    def serve(request: Request) -> Response:
        key = request.path_params["key"]
        if (adapter := store.list_saved()[0].get(key)) is None:
            return PlainTextResponse(f"There is no adapter {key[:80]!r} in this library; choose one of its cards.", 404)
        name = name_of(key)
        headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
        return Response(zip_adapter_as(name, adapter), media_type="application/zip", headers=headers)

    return Route("/adapters/{key:path}.zip", serve)
