"""Opens buses: the top level's from the configuration, a cell's from its transport URL."""

import threading

import oslo_messaging
from oslo_config import cfg

from kilonova.rpc.bus import Bus
from kilonova.rpc.memory import MemoryBus
from kilonova.rpc.oslo import OsloBus

MEMORY_SCHEME = "memory://"
AMQP_PORT = 5672


class Buses:
    """The buses that this process talks over, one for each transport URL, opened when first needed."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._open: dict[str, Bus] = {}

    def default(self) -> Bus:
        """Return the bus of ``[DEFAULT] transport_url``."""
        return self.at(transport_url(self._conf))

    def at(self, url: str) -> Bus:
        """Return the bus behind a transport URL."""
        with self._lock:
            if url not in self._open:
                self._open[url] = _open(self._conf, url)
            return self._open[url]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for bus in self._open.values():
                bus.close()
            self._open.clear()


def transport_url(conf: cfg.ConfigOpts) -> str:
    """Return ``[DEFAULT] transport_url``, which is oslo.messaging's option."""
    oslo_messaging.TransportURL.parse(conf)  # registers it
    url: str = conf.transport_url
    return url


def brokers(conf: cfg.ConfigOpts) -> list[tuple[str, int]]:
    """Return where the brokers of ``[DEFAULT] transport_url`` listen, as (host, port)."""
    url = transport_url(conf)
    if url.startswith(MEMORY_SCHEME):
        return []
    hosts = oslo_messaging.TransportURL.parse(conf, url).hosts
    return [(host.hostname, host.port or AMQP_PORT) for host in hosts if host.hostname]


def _open(conf: cfg.ConfigOpts, url: str) -> Bus:
    return MemoryBus(url) if url.startswith(MEMORY_SCHEME) else OsloBus(conf, url)
