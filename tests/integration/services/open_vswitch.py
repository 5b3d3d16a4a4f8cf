"""Open vSwitch on a host of the tests' own, switching packets itself: no kernel's module is needed."""

import shutil
from pathlib import Path

from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import CommandFailed, NotReady, Process, run

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class OpenVSwitch:
    """The switches of a host, beside its libvirt daemon, and in its network."""

    def __init__(self, directory: Path, host: Libvirtd) -> None:
        self._directory = directory
        self._host = host
        self._processes: list[Process] = []

    def start(self) -> None:
        """Start the database and the switch daemon."""
        self._directory.mkdir(parents=True)
        database = self._directory / "conf.db"
        run(["ovsdb-tool", "create", str(database), str(SCHEMA)])
        self._run(
            *("ovsdb-server", "ovsdb-server", str(database)),
            *("--remote=punix:/run/openvswitch/db.sock", "--remote=ptcp:6640:127.0.0.1"),
        ).wait_ready(self._answers)
        self.vsctl("--no-wait", "init")
        daemon = self._run("ovs-vswitchd", "ovs-vswitchd", "unix:/run/openvswitch/db.sock")
        daemon.wait_ready(lambda: "Open vSwitch" in daemon.log.read_text())

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(10)

    def vsctl(self, *arguments: str) -> str:
        """Run ``ovs-vsctl`` and return what it prints."""
        return run(["ovs-vsctl", f"--db=unix:{self._host.directory}/switch/db.sock", *arguments])

    def ports(self, bridge: str = "br-int") -> dict[str, str]:
        """Return a bridge's ports, each with the id that agents know it by; none without the bridge."""
        try:
            names = self.vsctl("list-ports", bridge).split()
        except CommandFailed:
            return {}
        return {
            name: self.vsctl("get", "Interface", name, "external_ids:iface-id").strip().strip('"')
            for name in names
        }

    def _run(self, name: str, *argv: str) -> Process:
        found = shutil.which(argv[0], path="/usr/sbin:/usr/bin")
        if not found:
            raise NotReady(f"{name} is not installed.")
        process = Process(
            name,
            [*self._host.inside(), found, *argv[1:], "--log-file=/dev/null"],
            log=self._directory / f"{name}.log",
        )
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            self.vsctl("--timeout=5", "--no-wait", "show")
        except CommandFailed:
            return False
        return True
