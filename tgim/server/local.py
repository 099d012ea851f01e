"""A web application on this machine: who may ask, how much may be sent, how it starts and stops.

A server that listens on the loopback is still in reach of every web page that its user opens: a page may send forms to
`http://127.0.0.1`, and with a name that it lets point there (DNS rebinding) read the answers, too. `guarded` refuses
both: requests that name another host, and those that another origin sends. It reads no body over a limit, and tells
browsers to load nothing from elsewhere.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tgim.errors import UserError
from tgim.system.say import one_line

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
OWN_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BYTES = 50 * 2**20  # of the body of a request
GRACE = 30.0  # seconds that requests have to end in when the server stops
READ_ONLY = ("GET", "HEAD", "OPTIONS")
POLICY = (  # Content Security Policy: own files alone, and pictures that the page itself has made
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def needed(names: Sequence[str] = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")) -> None:
    """Raise UserError unless the modules of the extra `serve` are installed."""
    from importlib.util import find_spec

    if missing := [name for name in names if find_spec(name) is None]:
        raise UserError(f'{", ".join(missing)} is not installed, which a server needs; run pip install "tgim[serve]"')


class Guard:
    """ASGI application around another one, which it asks only what is safe to ask.

    Args:
        app: the application.
        hosts: names and addresses that a request may be for, as in the header `Host`, without the port.
        max_bytes: of a request's body; more is refused with 413.
        headers: that every answer gets, unless the application has set them.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str] = OWN_NAMES, max_bytes: int = MAX_BYTES,
        headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.app, self.max_bytes = app, max_bytes
        self.hosts = frozenset(host.lower().strip("[]") for host in hosts)
        self.headers = [(k.encode(), v.encode()) for k, v in (HEADERS if headers is None else headers).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on; of other protocols only the start and end of the server are known."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._refusal(scope)
        if refused is not None:
            await self._refuse(send, *refused)
            return
        size, refusing = 0, False

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                raise _TooLarge
            return message

        async def with_headers(message: Message) -> None:
            nonlocal refusing
            if size > self.max_bytes:  # the application answers that it failed: not its fault
                if not refusing:
                    refusing = True
                    await self._refuse(send, 413, self._too_large())
                return
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", [])}
                more = [pair for pair in self.headers if pair[0] not in there]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        try:
            await self.app(scope, limited, with_headers)
        except _TooLarge:
            await with_headers({"type": "http.response.start"})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason where a request is not to be answered."""
        fields: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            fields.setdefault(name, []).append(value)
        hosts = [value.decode("latin-1") for value in fields.get(b"host", [])]
        host = host_of(hosts[0]) if len(hosts) == 1 else None
        if host is None or host not in self.hosts:
            return 403, f"this server does not answer as {one_line(hosts[0] if hosts else '')!r}; see --allow-host"
        if scope["method"] not in READ_ONLY:
            origins = [value.decode("latin-1") for value in fields.get(b"origin", [])]
            if any(origin_host(origin) != hosts[0].lower() for origin in origins):
                return 403, f"a page of {one_line(origins[0])!r} may not use this server; open the server's own page"
            if fields.get(b"sec-fetch-site", [b"same-origin"])[-1] not in (b"same-origin", b"none"):
                return 403, "another site's page may not use this server; open the server's own page"
        length = fields.get(b"content-length", [b"0"])[-1]
        if length.isdigit() and int(length) > self.max_bytes:
            return 413, self._too_large()
        return None

    def _too_large(self) -> str:
        return f"the request is larger than {self.max_bytes / 2**20:g} MiB; send a smaller picture"

    async def _refuse(self, send: Send, status: int, reason: str) -> None:
        import json

        body = json.dumps({"error": reason}).encode()
        own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        close = [(b"connection", b"close")] if status == 413 else []  # what is left of the body is not read
        await send({"type": "http.response.start", "status": status, "headers": [*own, *close, *self.headers]})
        await send({"type": "http.response.body", "body": body})


class _TooLarge(Exception):
    """A body that is longer than it may be."""


def host_of(field: str) -> str | None:
    """The host in a header `Host`, in lower case and without port and brackets; None where it is none.

    >>> host_of("LocalHost:7860"), host_of("[::1]:80"), host_of("a/b")
    ('localhost', '::1', None)
    """
    try:
        parts = urlsplit(f"//{field}")
        known = parts.netloc == field and "@" not in field and (parts.port is None or parts.port > 0)
    except ValueError:  # of the port, too
        return None
    return parts.hostname if known else None


def origin_host(origin: str) -> str:
    """Host and port in a header `Origin`; an empty string where there is none, as of "null".

    >>> origin_host("http://localhost:7860"), origin_host("null")
    ('localhost:7860', '')
    """
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server at `host`, a name or an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_unspecified(host: str) -> bool:
    """Tell whether a server at `host` listens on every address of the machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens; port 0 takes a free one.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(128)
        except OSError:
            found.close()
            raise
        return found
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{one_line(host)}:{port} cannot be listened on ({one_line(why)}); choose another --port, 0 for a free one"
        ) from error


def url_of(listening: socket.socket) -> str:
    """The address of a server for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if is_unspecified(host):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: Any, listening: socket.socket, *, stopping: Callable[[], object] | None = None) -> None:
    """Serve an application until SIGINT or SIGTERM, then let requests end, `GRACE` seconds at most.

    Args:
        app: ASGI application, in a `Guard`.
        listening: from `listen`; it is closed at the end.
        stopping: called when the first signal comes, before requests end.
    """
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            self.force_exit = self.should_exit and sig == signal.SIGINT  # a second ctrl-C does not wait
            self.should_exit = True
            if stopping is not None:
                stopping()

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, ws="none",
        timeout_graceful_shutdown=round(GRACE), timeout_keep_alive=30, h11_max_incomplete_event_size=65536,
    )  # fmt: skip
    Server(config).run(sockets=[listening])
