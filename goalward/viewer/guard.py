"""Who may talk to a page that is served on this machine: whoever knows its token, and no other page.

Every request, also the one that opens a WebSocket, must name this machine as its host, so that no other name
can be made to point here; if a page sends it, that page must be ours; and it must bring the token. The first
request has it in the address and is answered by a cookie, so that it does not stay in the browser's history.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from goalward.errors import MachineError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
REFUSED = (
    "This page is for whoever started it: open the address, with its token, that `goalward view` printed.\n"
)


class Answer(NamedTuple):
    """What a request is answered in place of the page."""

    status: HTTPStatus
    headers: dict[str, str]
    text: str


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def answer(path: str, headers: Mapping[str, str], token: str, cookie: str) -> Answer | None:
    """What a request gets if it is not let through; None if it is. `cookie` names the one with the token."""
    host = headers.get("Host", "")
    name = re.sub(r":\d+$", "", host)  # of any port: it may be forwarded here from another one
    origin = headers.get("Origin")
    if name.lower() not in LOOPBACK or (origin is not None and origin != f"http://{host}"):
        return Answer(HTTPStatus.FORBIDDEN, {}, REFUSED)
    if any(_same(given, token) for given in parse_qs(path.partition("?")[2]).get("token", ())):
        held = f"{cookie}={token}; Path=/; HttpOnly; SameSite=Lax"
        return Answer(
            HTTPStatus.SEE_OTHER, {"Location": "/", "Set-Cookie": held, "Cache-Control": "no-store"}, ""
        )
    pairs = (pair.strip().partition("=") for pair in headers.get("Cookie", "").split(";"))
    if any(name == cookie and _same(value, token) for name, _, value in pairs):  # others' may be anything
        return None
    return Answer(HTTPStatus.FORBIDDEN, {}, REFUSED)


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(errors="surrogateescape"), token.encode())


@contextmanager
def guarded(token: str, cookie: str) -> Iterator[None]:
    """Let servers of WebSockets that are started meanwhile look at each request first.

    Viser has no place for that of its own. Raises `MachineError` if no server was started through here, as
    where another version of it has another way: without this, it serves whoever asks.
    """
    from websockets.asyncio import server
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    started, real = [], server.serve

    def serve(handler: Any, *args: Any, process_request: Any = None, **options: Any) -> Any:
        def process(connection: Any, request: Any) -> Any:
            found = answer(request.path, _once(request.headers), token, cookie)
            if found is None:
                return process_request(connection, request) if process_request else None
            body = found.text.encode()
            told = {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
            return Response(found.status, found.status.phrase, Headers({**told, **found.headers}), body)

        started.append(True)
        return real(handler, *args, process_request=process, **options)

    server.serve = serve
    try:
        yield
    finally:
        server.serve = real
    if not started:
        raise MachineError("this version of viser cannot be guarded; install viser 1.1")


def _once(headers: Any) -> dict[str, str]:
    """Headers by name; one that came twice is as none, as who sends that has something in mind."""
    names = ("Host", "Origin", "Cookie")
    found = {name: headers.get_all(name) for name in names}
    return {name: values[0] if len(values) == 1 else "" for name, values in found.items() if values}
