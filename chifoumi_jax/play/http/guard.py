"""Lets in what comes from the pages of this server, and tells browsers what the pages may do."""

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


class Hosts:
    """The names under which the server answers.

    A page of another site can make a browser send requests here, under the site's own name if that
    name is made to lead to this machine (DNS rebinding). An address is no such name.
    """

    def __init__(self, bound: str):
        self._names = {"localhost", bound.casefold()}
        self._everywhere = not is_loopback(bound)
        if self._everywhere:
            self._names.add(socket.gethostname().casefold())

    def know(self, host: str) -> bool:
        """Whether a request's `Host` (without its port) is the server's."""
        if host.casefold() in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return self._everywhere or address.is_loopback


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there."""
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
        """Answer, or pass on."""
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
        if len(hosts) != 1 or not self._hosts.know(_name(hosts[0])):
            return Refusal(421, "wrong-host", "this server does not answer under that name")
        own = (f"http://{hosts[0]}", f"https://{hosts[0]}")
        if headers.get("origin", own[0]) not in own:
            return Refusal(403, "foreign-origin", "only this server's own pages may ask it")
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("same-origin", "none"):
            return Refusal(403, "foreign-origin", "only this server's own pages may ask it")
        return None


def _name(host: str) -> str:
    """A name or an address without its port; empty if it is neither."""
    found = _HOST.fullmatch(host)
    return "" if found is None else found["address"] or found["name"]
