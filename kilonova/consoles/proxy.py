"""The proxy: websockets from users on one side, consoles of guests on the other, tokens in between."""

import logging
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from weakref import WeakKeyDictionary

from oslo_config import cfg
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from kilonova.consoles import far_end
from kilonova.consoles.gate import Knock, Refused, decide
from kilonova.consoles.pages import page
from kilonova.core.clock import utcnow
from kilonova.core.errors import Unavailable
from kilonova.db import console_tokens
from kilonova.db.console_tokens import Console
from kilonova.db.engine import Database
from kilonova.http.server import check_free

LOG = logging.getLogger(__name__)

PORT = 6080
"""Where proxies of noVNC usually are; ``[vnc] novncproxy_base_url`` says how users reach it."""
_CHUNK = 1 << 16
_BROKEN = 1011
_BINARY = Subprotocol("binary")


class ConsoleProxy:
    """Serves on ``[DEFAULT] my_ip``. What is not a websocket gets the files of noVNC."""

    def __init__(self, conf: cfg.ConfigOpts, api_db: Database, port: int = PORT) -> None:
        self._base_url: str = conf.vnc.novncproxy_base_url or ""
        self._address = (conf.my_ip, port)
        self._api_db = api_db
        self._server: Server | None = None
        # Where websockets lead whose tokens were found good.
        self._visits: WeakKeyDictionary[ServerConnection, Console] = WeakKeyDictionary()

    def start(self) -> None:
        """Listen.

        Raises:
            AddressInUse: something else does.
        """
        check_free(*self._address)
        logging.getLogger("websockets").setLevel(logging.WARNING)
        self._server = serve(
            self._carry,
            *self._address,
            process_request=self._let_in,
            select_subprotocol=_subprotocol,
            compression=None,
        )
        threading.Thread(
            target=self._server.serve_forever, name="console-proxy", daemon=True
        ).start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        if self._server is None:
            return self._address[1]
        return int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Close every console, and the port."""
        if self._server is not None:
            self._server.shutdown()

    def _let_in(self, visit: ServerConnection, request: Request) -> Response | None:
        """Answer what wants no websocket, or may not have one; None lets it have one."""
        headers = request.headers
        if "websocket" not in headers.get("Upgrade", "").lower():
            return _shown(visit, request)
        knock = Knock(
            target=request.path, host=headers.get("Host", ""), origin=headers.get("Origin")
        )
        found = decide(
            knock, self._base_url, lambda token: console_tokens.find(self._api_db, token, utcnow())
        )
        if isinstance(found, Refused):
            LOG.info("A console was refused: %s", found.sentence)
            return visit.respond(found.status, found.sentence)
        self._visits[visit] = found
        return None

    def _carry(self, visit: ServerConnection) -> None:
        """Carry bytes both ways until one side ends."""
        console = self._visits[visit]
        try:
            far = far_end.connect(console.address)
        except Unavailable as error:
            LOG.warning("Console of %s: %s", console.instance_uuid, error.in_full)
            visit.close(_BROKEN, error.message)
            return
        LOG.info("A console of %s is open", console.instance_uuid)
        with far:
            back = threading.Thread(target=_from_guest, args=(far, visit), daemon=True)
            back.start()
            try:
                for said in visit:
                    far.sendall(said if isinstance(said, bytes) else said.encode())
            except (ConnectionClosed, OSError):
                LOG.debug("The console of %s broke off", console.instance_uuid)
            finally:
                _end(far)
                back.join()
        LOG.info("A console of %s is closed", console.instance_uuid)


def _from_guest(far: socket.socket, visit: ServerConnection) -> None:
    try:
        while said := far.recv(_CHUNK):
            visit.send(said)
    except (ConnectionClosed, OSError):
        LOG.debug("A console broke off")
    finally:
        visit.close()


def _end(far: socket.socket) -> None:
    try:
        far.shutdown(socket.SHUT_RDWR)
    except OSError:
        LOG.debug("The host has closed the console already")


def _subprotocol(_visit: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Take ``binary``, which older clients of consoles insist on; none is as good."""
    return _BINARY if _BINARY in offered else None


def _shown(visit: ServerConnection, request: Request) -> Response:
    found = page(request.path)
    if found is None:
        return visit.respond(HTTPStatus.NOT_FOUND, "There is no such page.")
    kind, body = found
    headers = Headers(
        {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    )
    return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, headers, body)
