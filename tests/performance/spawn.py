"""How long a host takes from the request to a guest that runs, one after the other and many at once.

    python -m tests.performance.spawn                  # 30 real guests under QEMU, emulating
    python -m tests.performance.spawn --guests 10

The host is real, in a cell with its conductor, Placement and database (SQLite) in this process; libvirt is
a daemon of its own. The image is in the host's cache. libvirt's part is what its calls to define and to
create a domain take, which is mostly QEMU's start; the rest is ours: reports, disks, config drive, XML.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import libvirt

from kilonova.compute.libvirt.driver import LibvirtDriver
from kilonova.compute.service import ComputeService
from kilonova.core import settings
from kilonova.core.ids import InstanceUuid
from kilonova.core.instance import Instance, Wishes
from kilonova.core.states import PowerState, VmState
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import BuildInstance
from tests.functional.compute.small_cell import SmallCell, destination, until
from tests.instances import HOST, instance
from tests.integration import services
from tests.integration.compute.worlds import QemuWorld

_libvirts = threading.local()


class RoomyWorld(QemuWorld):
    """A host that sells each CPU often enough."""

    more = "[DEFAULT]\ncpu_allocation_ratio = 64\nreserved_host_memory_mb = 0\n"


class Spawned:
    """When each guest's request came, when it ran, and what of that libvirt took (seconds)."""

    def __init__(self) -> None:
        self.asked: dict[InstanceUuid, float] = {}
        self.runs: dict[InstanceUuid, float] = {}
        self.libvirts: dict[InstanceUuid, float] = {}

    def watch(self, driver: LibvirtDriver) -> Callable[[Instance], None]:
        """Return a ``spawn`` that takes note."""
        spawn = driver.spawn

        def noted(server: Instance) -> None:
            _libvirts.seconds = 0.0
            spawn(server)
            self.libvirts[server.uuid] = _libvirts.seconds
            self.runs[server.uuid] = time.monotonic()

        return noted

    def row(self, name: str, servers: Sequence[Instance]) -> str:
        """Return the figures of some servers as a line of a table."""
        whole = [(self.runs[s.uuid] - self.asked[s.uuid]) * 1e3 for s in servers]
        theirs = [self.libvirts[s.uuid] * 1e3 for s in servers]
        ours = [a - b for a, b in zip(whole, theirs, strict=True)]
        figures = (f"{_at(part, 50):.0f} / {_at(part, 95):.0f}" for part in (whole, theirs, ours))
        return f"| {name} | {' | '.join(figures)} |"


def _at(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@contextmanager
def timed_libvirt() -> Iterator[None]:
    """Add up, for each thread, how long libvirt's calls that make a guest take."""
    originals = {
        (kind, name): getattr(kind, name)
        for kind, name in ((libvirt.virConnect, "defineXML"), (libvirt.virDomain, "create"))
    }

    def timed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.monotonic()
            try:
                return original(*arguments)
            finally:
                _libvirts.seconds += time.monotonic() - began

        return call

    for (kind, name), original in originals.items():
        setattr(kind, name, timed(original))
    try:
        yield
    finally:
        for (kind, name), original in originals.items():
            setattr(kind, name, original)


class Bench:
    """A cell with one host, whose guests can be made and removed."""

    def __init__(self, stack: ExitStack) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.spawned = Spawned()
        self.world = RoomyWorld()
        stack.callback(self.world.close)
        self.cell = SmallCell(directory)
        stack.callback(self.cell.stop)
        driver = self.world.driver
        (node,) = driver.nodes()
        self.cell.add_host(node)
        driver.spawn = self.spawned.watch(driver)  # type: ignore[method-assign]
        file = directory / "host.conf"
        file.write_text(self.cell.options)
        conf = settings.read_config(["--config-file", str(file)], prog="kilonova")
        peers = (self.cell.placement, self.world.images.client)
        host = ComputeService(conf, HOST, Buses(conf).default(), driver, peers)
        host.start()
        stack.callback(host.stop)
        until("the host adopted its guests", host._handlers.adopted.is_set)
        self.image = self.world.deaf("vm").image

    def place(self, count: int) -> list[BuildInstance]:
        """Return the requests of so many servers, which have their claims."""
        requests = []
        for number in range(count):
            wishes = Wishes(config_drive=True)
            server = self.cell.place(instance(f"vm-{number}", image=self.image, wishes=wishes))
            requests.append(BuildInstance(instance=server, destination=destination(server, HOST)))
        return requests

    def build(self, requests: Sequence[BuildInstance], *, at_once: bool) -> list[Instance]:
        """Send requests to the host and return the servers, once all are ACTIVE and run."""
        for request in requests:
            self.spawned.asked[request.instance.uuid] = time.monotonic()
            self.cell.tell(request.instance, request)
            if not at_once:
                self._await(request.instance)
        for request in requests:
            self._await(request.instance)
        guests = self.world.driver.guests()
        servers = [request.instance for request in requests]
        if not all(guests[server.uuid].power == PowerState.RUNNING for server in servers):
            raise RuntimeError("A guest does not run")
        return servers

    def _await(self, server: Instance) -> None:
        deadline = time.monotonic() + 300
        while (state := self.cell.get(server).vm_state) != VmState.ACTIVE:
            if time.monotonic() > deadline or state == VmState.ERROR:
                raise RuntimeError(f"{server.name} is {state}: {self.cell.fault(server)}")
            time.sleep(0.02)

    def remove(self, servers: Sequence[Instance]) -> None:
        """Delete servers and wait until they are gone."""
        for server in servers:
            self.cell.delete(server)
        for server in servers:
            until("it is deleted", lambda server=server: self.cell.get(server).deleted)  # type: ignore[misc]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--guests", type=int, default=30)
    count = parser.parse_args().guests
    with ExitStack() as stack:
        stack.callback(services.stop_all)
        bench = Bench(stack)
        stack.enter_context(timed_libvirt())
        bench.remove(bench.build(bench.place(1), at_once=False))
        one_by_one = bench.build(bench.place(count), at_once=False)
        rows = [bench.spawned.row(f"{count}, one after the other", one_by_one)]
        bench.remove(one_by_one)
        began = time.monotonic()
        together = bench.build(bench.place(count), at_once=True)
        took = time.monotonic() - began
        rows.append(bench.spawned.row(f"{count} at once", together))
        bench.remove(together)
    print("| ms, p50 / p95 | request to running | libvirt | kilonova |")
    print("|---|---:|---:|---:|")
    print("\n".join(rows))
    print(f"\n{count} at once all ran after {took:.1f} s.")


if __name__ == "__main__":
    main()
