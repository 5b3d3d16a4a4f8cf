"""A host of containers, and images whose one program is a shell script."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from kilonova.compute.libvirt.containers import ContainerDriver
from kilonova.core import settings
from kilonova.core.instance import Instance
from tests.instances import instance
from tests.integration import services
from tests.integration.compute.worlds import DaemonWorld

LINE = "a container\r\n"
EMULATOR = Path("/usr/lib/libvirt/libvirt_lxc")
"""What libvirt runs containers with."""

_IDLE = "while :; do sleep 0.1; done"
_DEAF = f"echo a container; trap '' TERM; {_IDLE}"
_POLITE = f"echo a container; trap 'exit 0' TERM; {_IDLE}"
_BRIEF = "echo a container; sleep 1"


@cache
def image_of(script: str) -> bytes:
    """Return a file system in which /sbin/init is a shell script, and commands are those of BusyBox."""
    with tempfile.TemporaryDirectory(dir=services.scratch()) as scratch:
        root, disk = Path(scratch) / "root", Path(scratch) / "disk"
        for name in ("bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "var"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin" / "busybox")
        for name in ("sh", "sleep", "cat", "ls", "ip", "udhcpc", "df", "seq", "wget"):
            (root / "bin" / name).symlink_to("busybox")
        start = root / "sbin" / "init"
        start.write_text(f"#!/bin/sh\n{script}\n")
        start.chmod(0o755)
        command = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), "8M"]
        subprocess.run(command, check=True, capture_output=True)
        return disk.read_bytes()


class ContainerWorld(DaemonWorld):
    """libvirt's containers."""

    name = "containers"
    virt_type = "lxc"
    console = LINE
    copies_begin_with = b"QFI\xfb"

    def address(self, uri: str) -> str:
        """See ``DaemonWorld``."""
        return uri.replace("qemu+unix", "lxc+unix")

    def new_driver(self) -> ContainerDriver:
        """See ``LibvirtWorld``."""
        conf = settings.read_config(["--config-file", str(self._file)], prog="kilonova")
        return ContainerDriver(conf, self.host, self.images.client)

    def deaf(self, name: str) -> Instance:
        """See ``World``."""
        return self.of_script(name, _DEAF)

    def polite(self, name: str) -> Instance:
        """Return a server whose container ends when it is asked."""
        return self.of_script(name, _POLITE)

    def brief(self, name: str) -> Instance:
        """See ``World``."""
        return self.of_script(name, _BRIEF)

    def of_script(self, name: str, script: str, **changed: object) -> Instance:
        """Return a server whose container runs a shell script."""
        return instance(name, image=self.images.add(image_of(script)), **changed)
