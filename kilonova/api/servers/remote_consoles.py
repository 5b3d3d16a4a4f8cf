"""Consoles of servers: a URL with a token for the user, and what the token means for the proxy behind it.

``kilonova-consoleproxy`` carries screens (noVNC) and serial lines; others are looked for beside the API, at
the ports at which such proxies usually are.
"""

import uuid
from datetime import timedelta
from urllib.parse import quote, urlsplit

from kilonova.api.find import find_server
from kilonova.api.microversions import Since
from kilonova.api.routing import Act, Answer, Asked, Route
from kilonova.api.schemas import server_actions as schemas
from kilonova.api.schemas.servers import NO_ARGUMENTS
from kilonova.api.servers.tasks import ask_host
from kilonova.core.clock import utcnow
from kilonova.core.console import KINDS, ConsoleAddress
from kilonova.core.errors import Gone, Invalid, NotFound
from kilonova.db import console_tokens
from kilonova.db.console_tokens import Console
from kilonova.rpc.messages import FindConsole

_LASTS = timedelta(seconds=600)
"""How long a token is good for."""

_URLS = {
    "xvpvnc": "http://{host}:6081/console?token={token}",
    "spice-html5": "http://{host}:6082/spice_auto.html?token={token}",
    "spice-direct": "http://{host}:13002/nova?token={token}",
    "webmks": "http://{host}:6090/?token={token}",
}
_RULE = "os_compute_api:os-remote-consoles"


def create(asked: Asked, server_id: str) -> Answer:
    """``POST /servers/{server_id}/remote-consoles``, from 2.6."""
    wanted = asked.body["remote_console"]
    protocol, kind = wanted["protocol"], wanted["type"]
    if kind not in KINDS[protocol]:
        raise Invalid(f"Invalid console type {kind}.")
    return Answer(
        {
            "remote_console": {
                "protocol": protocol,
                "type": kind,
                "url": _url(asked, server_id, kind),
            }
        }
    )


def _get(action: str) -> Act:
    """Return one of the actions that asked for consoles up to 2.5."""

    def handle(asked: Asked, server_id: str) -> Answer:
        kind = asked.body[action]["type"]
        return Answer({"console": {"type": kind, "url": _url(asked, server_id, kind)}})

    return Act(_RULE, handle, _OLD[action], when=Since.REMOTE_CONSOLES.before)


_OLD = {
    "os-getVNCConsole": schemas.VNC_CONSOLE,
    "os-getSPICEConsole": schemas.SPICE_CONSOLE,
    "os-getSerialConsole": schemas.SERIAL_CONSOLE,
}
ACTS = {action: _get(action) for action in _OLD}


def _no_rdp(asked: Asked, server_id: str) -> Answer:
    """``os-getRDPConsole``: no hypervisor that had one is left."""
    find_server(asked, server_id)
    raise Gone("os-getRDPConsole: this action is gone from the API.")


ACTS["os-getRDPConsole"] = Act(_RULE, _no_rdp, NO_ARGUMENTS, when=Since.REMOTE_CONSOLES.before)


def _url(asked: Asked, server_id: str, kind: str) -> str:
    """Return the URL of a console, with a token that was just made.

    Raises:
        NotFound: there is no such server.
        Invalid: guests on its host have no such console.
        WrongState: it does not run.
        Unavailable: its host does not answer.
    """
    located = find_server(asked, server_id)
    instance = located.instance
    message = FindConsole(instance_uuid=instance.uuid, kind=kind)
    address = ask_host(asked, located, "get_console", message, ConsoleAddress)
    token, now = str(uuid.uuid4()), utcnow()
    console = Console(instance.uuid, kind, address)
    console_tokens.grant(asked.services.api_db, token, console, now, now + _LASTS)
    return _shown(asked, kind, token)


def _shown(asked: Asked, kind: str, token: str) -> str:
    """Return where a console's proxy is, in the words of the host by which the API is reached, unless it is
    said."""
    name = urlsplit(asked.host_url).hostname or ""
    host = f"[{name}]" if ":" in name else name
    base = asked.services.conf.vnc.novncproxy_base_url or f"http://{host}:6080/vnc_auto.html"
    if kind == "novnc":
        return f"{base}{'&' if '?' in base else '?'}path={quote(f'?token={token}')}"
    if kind == "serial":
        scheme, place = urlsplit(base)[:2]
        return f"{'wss' if scheme == 'https' else 'ws'}://{place}/?token={token}"
    return _URLS[kind].format(host=host, token=token)


def show_token(asked: Asked, token: str) -> Answer:
    """``GET /os-console-auth-tokens/{token}``: where the proxy finds the console."""
    console = console_tokens.find(asked.services.api_db, token, utcnow())
    if console is None:
        raise NotFound("Token not found")
    address = console.address
    view = {
        "instance_uuid": console.instance_uuid,
        "host": address.host,
        "port": address.port,
        "internal_access_path": address.path,
    }
    return Answer({"console": view | _tls(asked, address)})


def _tls(asked: Asked, address: ConsoleAddress) -> dict[str, int | None]:
    return {"tls_port": address.tls_port} if asked.version in Since.SPICE_DIRECT else {}


ROUTES = (
    Route(
        "POST",
        "/servers/{server_id}/remote-consoles",
        _RULE,
        create,
        body=schemas.REMOTE_CONSOLE,
        when=Since.REMOTE_CONSOLES,
    ),
    Route(
        "GET",
        "/os-console-auth-tokens/{token}",
        "os_compute_api:os-console-auth-tokens",
        show_token,
        when=Since.TOKENS_OF_EVERY_CONSOLE,
    ),
)
