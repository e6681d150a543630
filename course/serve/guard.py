"""Who may ask: no other web page, nobody without the token, and nobody too much.

Any page that a browser shows can send requests to this machine. It must not use the
server, so requests that name another page as their origin are refused; and so are those
that reached this machine under a foreign name (DNS rebinding), unless a token is
demanded: then whoever does not know it gets in under no name.
"""

from __future__ import annotations

import hmac
import ipaddress
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from course.serve.errors import ApiError

BODY = 256 * 1024
"""The bytes of a request, at most."""

PORT = re.compile(r":\d*$")

SENT_WITH_ALL = {
    # The page has its script and its style from here and from nowhere else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; font-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Stands before the app."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        """`token`: what requests to /v1 must bring; None: nothing, and then only local
        names of this machine are answered to."""
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY:
                raise ApiError(
                    413,
                    f"the body is larger than {BODY} bytes: shorten it",
                    code="body_too_large",
                )
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SENT_WITH_ALL)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_origin(headers)
            self._check_token(scope["path"], headers)
        except ApiError as refusal:
            await refusal.response()(scope, receive, answer)
            return
        await self.app(scope, counted, answer)

    def _check_origin(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = PORT.sub("", host).strip("[]")
        if self.token is None and not is_local(name):
            raise ApiError(
                403,
                f"this server is local and does not answer to the name {host[:100]!r}: "
                "call it 127.0.0.1 or localhost",
                code="foreign_host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            raise ApiError(
                403,
                "another web page asks, and only the server's own may",
                code="foreign_origin",
            )

    def _check_token(self, path: str, headers: Headers) -> None:
        if self.token is None or not f"{path}/".startswith("/v1/"):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode(), self.token.encode())
        if kind.lower() != "bearer" or not known:
            raise ApiError(
                401,
                "this server demands its token: send the header Authorization: Bearer "
                "TOKEN",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_local(host: str) -> bool:
    """Whether a name or an address can mean this machine alone.

    >>> [is_local(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "a.b")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
