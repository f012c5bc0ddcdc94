"""What stands before every request: host name, token, size of the body, and the headers of every reply."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1_000_000  # bytes
DRAINED = 8_000_000  # bytes of a larger one that are read before it is refused
COOKIE = "energy_flow_token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Middleware around the application.

    Without a token only requests to a name of this machine's loopback are answered, so that no other site can reach
    the server by a name of its own (DNS rebinding). With a token every request must carry it: in the cookie that the
    printed address sets, or as `Authorization: Bearer TOKEN`.

    Args:
        app: what is guarded.
        token: what every request must carry, or None.
    """

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answered = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, answered)
            return
        body = await _read_body(receive)
        if body is None:
            await _too_large()(scope, receive, answered)
            return
        await self.app(scope, _Replayed(body, receive), answered)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.token is None and host_name(host) not in LOOPBACK:
            return _say(403, "this server answers to 127.0.0.1 and localhost alone")
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != host:
            return _say(403, "the request comes from another site")
        if self.token is not None:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if scope["path"] == "/" and self._is_token(given):
                return self._welcome()
            if not self._is_token(_token_of(headers)):
                return _say(401, "open the address with the token that the server printed")
        return None

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self.token or "").encode())

    def _welcome(self) -> Response:
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, self.token or "", httponly=True, samesite="strict")
        return response


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _token_of(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for cookie in headers.get("cookie", "").split(";"):  # those of other servers of this host may be of any form
        name, _, value = cookie.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""


def _say(status: int, words: str) -> JSONResponse:
    return JSONResponse({"error": words}, status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending


def _too_large() -> JSONResponse:
    return _say(413, f"the body is larger than {LARGEST_BODY:,} bytes")


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or None where it is too large: what it says of its length is not relied on.

    The rest of one that is too large is read too, up to a limit, because who still sends does not read an answer.
    """
    body, length = bytearray(), 0
    while length <= DRAINED:
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length <= LARGEST_BODY:
            body += part
        if not message.get("more_body", False):
            break
    return bytes(body) if length <= LARGEST_BODY else None


class _Replayed:
    """Gives a body that was read already, and then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        """The next message."""
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}
