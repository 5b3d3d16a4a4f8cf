"""Who may pass to a console: a pure decision over what came with the request."""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from kilonova.db.console_tokens import Console

CARRIED = frozenset({"novnc", "serial"})
"""The types of consoles that are carried over a websocket as they are."""
_LONGEST = 200


class Knock(msgspec.Struct, frozen=True, kw_only=True):
    """What of a websocket's request counts: its target, and its ``Host`` and ``Origin`` headers."""

    target: str
    host: str
    origin: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """Why somebody may not pass, to be told to them."""

    status: HTTPStatus
    sentence: str


def decide(knock: Knock, base_url: str, find: Callable[[str], Console | None]) -> Console | Refused:
    """Return the console that a request leads to, or why it leads to none.

    ``find`` returns what a token is for; ``base_url`` is where users find the proxy. A page of another site
    must not use what a browser has, so one that tells its origin must be of ours.
    """
    if knock.origin is not None:
        origin = urlsplit(knock.origin).netloc
        if origin not in {knock.host, urlsplit(base_url).netloc} - {""}:
            return Refused(HTTPStatus.FORBIDDEN, "Consoles are not for pages of other sites.")
    token = token_of(knock.target)
    if token is None:
        return Refused(HTTPStatus.UNAUTHORIZED, "There is no token in the address.")
    console = find(token)
    if console is None:
        return Refused(HTTPStatus.UNAUTHORIZED, "The token is not valid, or not any more.")
    if console.console_type not in CARRIED:
        return Refused(HTTPStatus.FORBIDDEN, f"{console.console_type} has a proxy of its own.")
    return console


def token_of(target: str) -> str | None:
    """Return the token in a request's target, None if there is not exactly one.

    noVNC puts the whole query into its own parameter ``path``, which some of its versions send as it is.
    """
    query = parse_qs(urlsplit(target).query)
    given = query.get("token") or parse_qs(urlsplit(unquote(target)).query).get("token") or []
    return given[0] if len(given) == 1 and len(given[0]) <= _LONGEST else None
