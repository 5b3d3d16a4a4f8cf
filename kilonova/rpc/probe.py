"""Whether a broker takes messages: one that is short of memory or disk takes connections, and nothing else.

Asks over a connection of its own, with messages that go nowhere.
"""

import socket

import amqp
import oslo_messaging
from oslo_config import cfg

from kilonova.core.errors import BusUnavailable
from kilonova.rpc.connect import AMQP_PORT, MEMORY_SCHEME, transport_url

_PATIENCE = 2.0
"""Seconds for each step."""
_NOBODY = "kilonova.probe"
"""A queue that there is not: what is sent there is confirmed, and forgotten."""


def check(conf: cfg.ConfigOpts) -> None:
    """Return if a broker of ``[DEFAULT] transport_url`` takes messages, or none is needed.

    Raises:
        BusUnavailable: none does.
    """
    url = transport_url(conf)
    if url.startswith(MEMORY_SCHEME):
        return
    parsed = oslo_messaging.TransportURL.parse(conf, url)
    named = [host for host in parsed.hosts if host.hostname]
    reason = "No broker takes connections."
    for host in named:
        try:
            if _is_encrypted(conf):
                socket.create_connection((host.hostname, host.port or AMQP_PORT), _PATIENCE).close()
            else:
                _send(host, parsed.virtual_host or "/")
        except TimeoutError:
            reason = "The broker confirms no messages: it may be short of memory or disk."
        except (amqp.AMQPError, OSError):
            continue
        else:
            return
    if named:
        raise BusUnavailable(reason)


def _is_encrypted(conf: cfg.ConfigOpts) -> bool:
    try:
        return bool(conf.oslo_messaging_rabbit.ssl)
    except cfg.NoSuchOptError:
        # oslo.messaging knows its options once a bus is open.
        return False


def _send(host: oslo_messaging.TransportHost, virtual_host: str) -> None:
    socket.create_connection((host.hostname, host.port or AMQP_PORT), _PATIENCE).close()
    connection = amqp.Connection(
        host=f"{host.hostname}:{host.port or AMQP_PORT}",
        userid=host.username or "guest",
        password=host.password or "guest",
        virtual_host=virtual_host,
        connect_timeout=_PATIENCE,
        read_timeout=_PATIENCE,
        write_timeout=_PATIENCE,
        confirm_publish=True,
    )
    try:
        connection.connect()
        channel = connection.channel()
        # A broker that is short of something takes the first of a connection, and reads no further.
        for _ in range(2):
            message = amqp.Message(b"")
            channel.basic_publish(message, routing_key=_NOBODY, confirm_timeout=_PATIENCE)
    finally:
        # Without a farewell, which a broker that reads nothing does not answer.
        connection.collect()
