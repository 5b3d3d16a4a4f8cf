"""Connection strings as they may be shown: with their passwords taken out."""

import re

_SECRET = re.compile(r"(?i)([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*")


def without_secrets(url: str) -> str:
    """Return a database's or a bus's URL without what opens it; of several hosts, each without its own."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    *logins, end = rest.split("@")
    # Behind the first, what has no comma is no host and a login: it is the rest of a password with an @.
    shown = [_login("", login) for login in logins[:1]]
    shown += [_login(*part.split(",", 1)) for part in logins[1:] if "," in part]
    return scheme + mark + "@".join([*shown, _SECRET.sub(r"\1***", end)])


def _login(host: str, login: str) -> str:
    """Return a login without its password, behind the host that it follows."""
    user, colon, _password = login.partition(":")
    return (f"{host}," if host else "") + user + (":***" if colon else "")
