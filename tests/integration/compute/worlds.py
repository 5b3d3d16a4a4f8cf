"""Hypervisors for one test each: libvirt's test driver, in this process or in a daemon, and QEMU."""

import tempfile
from pathlib import Path

import libvirt

from kilonova.compute.libvirt.driver import LibvirtDriver
from kilonova.core import settings
from kilonova.core.instance import Instance
from tests.functional.compute.image_store import ServedImages
from tests.instances import HOST, instance
from tests.integration import services
from tests.integration.compute import sectors
from tests.integration.services.libvirtd import Libvirtd

_OPTIONS = """\
[DEFAULT]
instances_path = {instances}
[compute]
driver = libvirt
[libvirt]
connection_uri = {uri}
virt_type = {virt_type}
"""


class LibvirtWorld:
    """A libvirt at ``uri``, with an image store, or with that of the world ``beside``; ``drivers`` of it
    come one after the other."""

    virt_type = "test"
    console = ""
    host = HOST
    copies_begin_with = b""
    more = ""
    """What else its configuration says."""

    def __init__(self, uri: str, beside: "LibvirtWorld | None" = None) -> None:
        self.uri = uri
        self._beside = beside
        self._scratch = tempfile.TemporaryDirectory(dir=services.scratch())
        self.directory = Path(self._scratch.name)
        self.directory.chmod(0o755)
        self.instances = self.directory / "instances"
        self.images = beside.images if beside else ServedImages(self.directory)
        options = _OPTIONS.format(instances=self.instances, uri=uri, virt_type=self.virt_type)
        self.options = options + self.more
        self._file = self.directory / "compute.conf"
        self._file.write_text(self.options)
        # The test driver forgets its domains with its last connection.
        self._connection = libvirt.open(uri) if uri.startswith("test:") else None
        self.driver = self.new_driver()

    def new_driver(self) -> LibvirtDriver:
        """Return a driver of this hypervisor, as a service that was restarted makes one."""
        conf = settings.read_config(["--config-file", str(self._file)], prog="kilonova")
        return LibvirtDriver(conf, self.host, self.images.client)

    def deaf(self, name: str) -> Instance:
        """See ``World``. Guests of the test driver obey at once."""
        return instance(name)

    def files(self) -> list[str]:
        """Return what there is of servers, by its path below ``instances_path``."""
        found = (path.relative_to(self.instances) for path in self.instances.glob("*/*"))
        return sorted(str(path) for path in found if path.parts[0][0] != "_")

    def close(self) -> None:
        """End what this world started."""
        self.driver.close()
        if self._beside is None:
            self.images.stop()
        if self._connection is not None:
            self._connection.close()
        self._scratch.cleanup()


class DaemonWorld(LibvirtWorld):
    """A libvirt in a daemon of its own, which can be away."""

    name = "contract"

    def __init__(self, beside: LibvirtWorld | None = None) -> None:
        self.daemon = self.start_daemon()
        super().__init__(self.address(self.daemon.uri), beside)

    def start_daemon(self) -> Libvirtd:
        """Return the daemon of this world, started if it is not."""
        return services.libvirtd(self.name)

    def address(self, uri: str) -> str:
        """Return libvirt's test driver in the daemon at ``uri``."""
        return uri.replace("qemu+unix:///system", "test+unix:///default").replace(
            "qemu+unix:///session", "test+unix:///default"
        )

    def go(self) -> None:
        """See ``World``."""
        self.daemon.kill_daemon()

    def come(self) -> None:
        """See ``World``."""
        if self.daemon.daemon is None or self.daemon.daemon.returncode is not None:
            self.daemon.start_daemon()


class QemuWorld(DaemonWorld):
    """QEMU, emulating."""

    virt_type = "qemu"
    console = sectors.LINE
    copies_begin_with = b"QFI\xfb"

    def address(self, uri: str) -> str:
        """See ``DaemonWorld``."""
        return uri

    def deaf(self, name: str) -> Instance:
        """See ``World``."""
        return self.of_disk(name, sectors.deaf())

    def polite(self, name: str) -> Instance:
        """Return a server whose guest shuts down when it is asked."""
        return self.of_disk(name, sectors.polite())

    def brief(self, name: str) -> Instance:
        """See ``World``."""
        return self.of_disk(name, sectors.brief())

    def of_disk(self, name: str, data: bytes, disk_format: str = "raw") -> Instance:
        """Return a server that starts from an image of its own."""
        return instance(name, image=self.images.add(data, disk_format))
