"""Refuses requests from other sites, and sets the security headers of all responses."""

import ipaddress
import re
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chifoumi_jax.play.http.errors import Refusal

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?", re.ASCII)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


_FOREIGN_ORIGIN = "only this server's own pages may send requests to it"


class Hosts:
    """The host names and addresses that the server accepts.

    Another site can point its own name to this machine (DNS rebinding); a browser then sends that
    site's requests here, under that name. Such names are refused. Addresses cannot be rebound.
    """

    def __init__(self, bound: str):
        self._names = {"localhost", bound.casefold()}
        self._any_address = not is_loopback(bound)
        if self._any_address:
            self._names.add(socket.gethostname().casefold())

    def accepts(self, host: str) -> bool:
        """Whether a request's `Host`, without its port, is one of the server's."""
        if host.casefold() in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: checks `Host`, `Origin` and `Sec-Fetch-Site`, and sets `HEADERS`."""

    def __init__(self, app: ASGIApp, hosts: Hosts):
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), str(scope["path"]))
        app = self._app if refusal is None else refusal.response()
        await app(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers, path: str) -> Refusal | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.accepts(_without_port(hosts[0])):
            return Refusal(421, "wrong-host", "this server does not accept that host name")
        origins = (f"http://{hosts[0]}", f"https://{hosts[0]}")
        if headers.get("origin", origins[0]) not in origins:
            return Refusal(403, "foreign-origin", _FOREIGN_ORIGIN)
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("same-origin", "none"):
            return Refusal(403, "foreign-origin", _FOREIGN_ORIGIN)
        return None


def _without_port(host: str) -> str:
    """A host's name or address without its port; empty if `host` is malformed."""
    found = _HOST.fullmatch(host)
    return "" if found is None else found["address"] or found["name"]
