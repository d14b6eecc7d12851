"""Who may talk to the server: a browser of this machine that was given the token, on our own page.

A server on 127.0.0.1 can be reached by every web page that is open in a browser here, through the browser. So a
request must name this machine (no DNS rebinding), come from our own page (no foreign Origin, no page of another local
port) and show the token, once in the address, from then on in a cookie that no script can read.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OUR_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
"""Any port will do: the page may be looked at through an SSH tunnel, whose near end has a port of its own."""
_FOREIGN = frozenset({"cross-site", "same-site"})
"""Values of Sec-Fetch-Site; same-site is another port of this machine."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Guard:
    """Stands before the application; refuses with 403 what is not ours."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no sockets here
        headers = Headers(scope=scope)
        brought = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        introduces = scope["path"] == "/" and _same(brought, self._token)
        reason = _refusal(scope, headers)
        if reason is None and not (introduces or self._has_cookie(headers)):
            reason = "Open the address that `singalong review` printed: it holds a token, this one does not."

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out[name] = value
                out.setdefault("cache-control", "no-store")
                if introduces and reason is None:
                    out.append(
                        "set-cookie", f"{_cookie_name(headers)}={self._token}; Path=/; HttpOnly; SameSite=Strict"
                    )
            await send(message)

        if reason is not None:
            await PlainTextResponse(reason + "\n", status_code=403)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _has_cookie(self, headers: Headers) -> bool:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return False
        morsel = jar.get(_cookie_name(headers))
        return morsel is not None and _same(morsel.value, self._token)


def _refusal(scope: Scope, headers: Headers) -> str | None:
    """Why a request is not from our own page; None where it is."""
    host = headers.get("host", "")
    if not _is_ours(host):
        return "This server answers to 127.0.0.1 and localhost only."
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "This request comes from another page."
    navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET" and scope["path"] == "/"
    if headers.get("sec-fetch-site") in _FOREIGN and not navigates:
        return "This request comes from another page."
    if scope["method"] not in ("GET", "HEAD"):
        if origin is None:
            return "What changes something must say which page it comes from."
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return "What changes something must be JSON."
    return None


def _is_ours(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname in _OUR_NAMES and parts.netloc == host and "@" not in host
    except ValueError:
        return False


def _cookie_name(headers: Headers) -> str:
    """Cookies do not tell ports apart, and two runs may be under review at once: the port is part of the name."""
    return f"singalong_review_{urlsplit('//' + headers['host']).port or 80}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
