"""The services that integration tests use, each started at its first use and ended with the process.

Nothing here touches a service that the machine runs already: ports are free ones, and files lie in a
scratch directory that goes away in the end.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar, cast

from tests.integration.services.cinder import Cinder
from tests.integration.services.databases import MariaDB, PostgreSQL
from tests.integration.services.glance import Glance
from tests.integration.services.keystone import Keystone
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.manila import Manila
from tests.integration.services.neutron import Neutron
from tests.integration.services.open_vswitch import OpenVSwitch
from tests.integration.services.rabbitmq import RabbitMQ

__all__ = [
    "Cinder",
    "Glance",
    "Keystone",
    "Libvirtd",
    "Manila",
    "MariaDB",
    "Neutron",
    "OpenVSwitch",
    "PostgreSQL",
    "RabbitMQ",
    "cinder",
    "glance",
    "keystone",
    "libvirtd",
    "manila",
    "mariadb",
    "neutron",
    "open_vswitch",
    "postgresql",
    "rabbitmq",
    "scratch",
    "stop_all",
]


class Service(Protocol):
    """What is started before it is used and stopped in the end."""

    def start(self) -> None:
        """Return when it answers."""

    def stop(self) -> None:
        """Return when it has ended."""


S = TypeVar("S", bound=Service)

_running: dict[str, Service] = {}
_directories: list[Path] = []
_stack = ExitStack()


def mariadb() -> MariaDB:
    """Return the MariaDB server."""
    return _once("mariadb", MariaDB)


def _others_database() -> MariaDB:
    """Return the server of the other services' databases: those are to answer while kilonova's is away."""
    return _once("others-mariadb", MariaDB)


def postgresql() -> PostgreSQL:
    """Return the PostgreSQL server."""
    return _once("postgresql", PostgreSQL)


def rabbitmq() -> RabbitMQ:
    """Return the broker."""
    return _once("rabbitmq", RabbitMQ)


def keystone() -> Keystone:
    """Return the identity service."""
    # Not on SQLite: two that change users at the same moment would lock each other out.
    database = _others_database()
    return _once("keystone", lambda directory: Keystone(directory, database))


def glance() -> Glance:
    """Return the image service, which asks ``keystone()``."""
    identity, database = keystone(), _others_database()
    return _once("glance", lambda directory: Glance(directory, identity, database))


def neutron(region: str) -> Neutron:
    """Return the network service of a deployment, by the region that it is in."""
    identity, database = keystone(), _others_database()
    return _once(
        f"neutron-{region}", lambda directory: Neutron(directory, identity, database, region)
    )


def cinder(region: str) -> Cinder:
    """Return the block storage service of a deployment, by the region that it is in."""
    peers = (keystone(), _others_database(), rabbitmq())
    images = glance().url
    return _once(f"cinder-{region}", lambda directory: Cinder(directory, peers, images, region))


def manila(region: str) -> Manila:
    """Return the share service of a deployment, by the region that it is in."""
    peers = (keystone(), _others_database(), rabbitmq())
    return _once(f"manila-{region}", lambda directory: Manila(directory, peers, region))


def libvirtd(host: str) -> Libvirtd:
    """Return the daemon of a host, by the host's name."""
    return _once(f"libvirt-{host}", Libvirtd)


def networked_libvirtd(host: str) -> Libvirtd:
    """Return the daemon of a host that has a network of its own."""
    return _once(f"libvirt-{host}", lambda directory: Libvirtd(directory, networked=True))


def open_vswitch(host: str) -> OpenVSwitch:
    """Return the switches of a host that has a network of its own."""
    beside = networked_libvirtd(host)
    return _once(f"switch-{host}", lambda directory: OpenVSwitch(directory, beside))


def scratch() -> Path:
    """Return the directory of this process's services; it is removed in the end."""
    if not _directories:
        # Short, because sockets lie in it; open to the users that servers change to.
        directory = Path(tempfile.mkdtemp(prefix="kilonova-"))
        directory.chmod(0o755)
        _stack.callback(shutil.rmtree, directory, ignore_errors=True)
        _directories.append(directory)
    return _directories[0]


def stop_all() -> None:
    """Stop what was started, the last first, and remove the scratch directory."""
    _running.clear()
    _directories.clear()
    _stack.close()


def _once(name: str, make: Callable[[Path], S]) -> S:
    if name not in _running:
        service = make(scratch() / name)
        # Before the start, so that what has started only half is stopped too.
        _stack.callback(service.stop)
        service.start()
        _running[name] = service
    return cast("S", _running[name])


atexit.register(stop_all)
