"""The ASGI application: the pages, their assets and the API, behind `Guard`."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chifoumi_jax.play.game_api import game_routes
from chifoumi_jax.play.http.assets import Asset, read_assets
from chifoumi_jax.play.http.errors import Refusal, handle_refusal
from chifoumi_jax.play.http.guard import Guard, Hosts
from chifoumi_jax.play.photo_api import photo_routes
from chifoumi_jax.play.service import Service
from chifoumi_jax.play.teach_api import teach_routes

_ERROR_CODES = {404: "not-found", 405: "wrong-method"}


def create_app(service: Service, hosts: Hosts) -> Starlette:
    """The application."""
    assets = read_assets()
    routes = [
        *(Route(path, _serve(asset), methods=["GET"]) for path, asset in assets.items()),
        Route("/api/health", _health, methods=["GET"]),
        *game_routes(service),
        *photo_routes(service),
        *teach_routes(service),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            Refusal: handle_refusal,
            HTTPException: _handle_http_error,
            ClientDisconnect: _handle_disconnect,
            Exception: _handle_internal_error,
        },
    )


def _serve(asset: Asset) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        headers: Mapping[str, str] = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.media_type)

    return serve


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _ERROR_CODES.get(error.status_code, "bad-request")
    return Refusal(error.status_code, code, error.detail, error.headers).response()


async def _handle_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _handle_internal_error(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this, so the server's terminal shows its traceback.
    return Refusal(500, "internal", "the server failed; see the error in its terminal").response()
