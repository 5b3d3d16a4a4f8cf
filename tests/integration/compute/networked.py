"""A QEMU host with a network, in a namespace that the tests' own processes are not in."""

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kilonova.compute.libvirt.driver import LibvirtDriver
from tests.integration import services
from tests.integration.compute.worlds import QemuWorld
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import run

_CLONE_NEWNET = 0x40000000


@contextmanager
def in_network(namespace: Path) -> Iterator[None]:
    """Let this thread, and what it starts, be in a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with open(path, "rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {path}")

    with open("/proc/self/ns/net", "rb") as home:
        enter(str(namespace))
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{home.fileno()}")


class NetworkedWorld(QemuWorld):
    """QEMU, on a host with a network."""

    name = "networks"
    range = "10.88.0.0/29"

    def __init__(self) -> None:
        self.networked = services.networked_libvirtd(self.name)
        super().__init__()

    def start_daemon(self) -> Libvirtd:
        """See ``DaemonWorld``."""
        return self.networked

    def new_driver(self) -> LibvirtDriver:
        """See ``LibvirtWorld``. What listens does so in the daemon's network."""
        network = f"[network]\nprovider = libvirt\nfixed_range = {self.range}\n"
        self._file.write_text(self.options + network)
        with in_network(self.networked.network):
            return super().new_driver()

    def inside(self, *command: str) -> str:
        """Run a command in the host's network and return what it prints."""
        return run(["nsenter", f"--net={self.networked.network}", *command])

    def taps(self) -> list[str]:
        """Return the cards' other ends."""
        links = json.loads(self.inside("ip", "-json", "link"))
        return [link["ifname"] for link in links if link["ifname"].startswith("vnet")]

    def metadata(self, address: str) -> str:
        """Return which server the metadata service tells about to who asks from an address."""
        return str(self.told(address).get("uuid", ""))

    def told(self, address: str) -> dict[str, Any]:
        """Return what the metadata service tells who asks from an address."""
        self.inside("ip", "address", "add", f"{address}/32", "dev", "lo")
        try:
            url = "http://169.254.169.254/openstack/latest/meta_data.json"
            asked = self.inside("curl", "-s", "-m", "5", "--interface", address, url)
        finally:
            self.inside("ip", "address", "del", f"{address}/32", "dev", "lo")
        told: dict[str, Any] = json.loads(asked)
        return told
