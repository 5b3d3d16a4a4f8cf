"""Which hypervisor this machine has: libvirt's QEMU driver in this process, or libvirt's own test driver."""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from kilonova.core.errors import HypervisorUnavailable
from kilonova.embedded.boot_sector import LINE, disk_image

_QEMU = "qemu-system-x86_64"
_LONGEST_ROOT = 45
"""Characters: QEMU's sockets stand below the root, and a socket's path is at most 107."""
_PROBE_SECONDS = 8

_QEMU_CONF = """\
user = "{user}"
group = "{user}"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
vnc_listen = "127.0.0.1"
{cgroups}"""


class Hypervisor(msgspec.Struct, frozen=True, kw_only=True):
    """A libvirt URI, its domain type, and a word for people."""

    uri: str
    virt_type: str
    shown: str


def find(state_dir: Path) -> Hypervisor:
    """Return what guests run on here.

    Raises:
        HypervisorUnavailable: libvirt's Python binding is not installed.
    """
    try:
        import libvirt  # noqa: PLC0415 - a machine for fake hosts needs none
    except ImportError as error:
        raise HypervisorUnavailable(
            "libvirt's Python binding is not installed; tools/up installs it, or use --driver fake."
        ) from error
    if shutil.which(_QEMU) is None:
        return Hypervisor(
            uri="test:///default", virt_type="test", shown="libvirt's test driver, no QEMU here"
        )
    root = state_dir / "libvirt"
    if len(str(root)) > _LONGEST_ROOT:
        root = Path("/var/tmp") / f"kilonova-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"  # noqa: S108
    _configure(root)
    kvm = kvm_works()
    version = libvirt.getVersion()
    return Hypervisor(
        uri=f"qemu:///embed?root={root}",
        virt_type="kvm" if kvm else "qemu",
        shown=f"libvirt {version // 1_000_000}.{version // 1000 % 1000}, QEMU {'with KVM' if kvm else 'emulating (no usable KVM)'}",
    )


def _configure(root: Path) -> None:
    """Write the QEMU driver's configuration; guests run as whoever runs this."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    user = pwd.getpwuid(os.geteuid()).pw_name
    cgroups = (
        ""
        if os.access("/sys/fs/cgroup", os.W_OK) and user == "root"
        else "cgroup_controllers = []\n"
    )
    text = _QEMU_CONF.format(user=user, cgroups=cgroups)
    (root / "etc/qemu.conf").write_text(text)


def kvm_works() -> bool:
    """Whether a guest really boots under KVM: /dev/kvm may be there and yet not work."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory() as scratch:
        disk = Path(scratch) / "probe.raw"
        disk.write_bytes(disk_image())
        command = [_QEMU, "-accel", "kvm", "-m", "32", "-display", "none", "-nodefaults"]
        command += ["-serial", "stdio", "-drive", f"file={disk},format=raw,if=ide"]
        try:
            said = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
            ).stdout
        except subprocess.TimeoutExpired as expired:
            # The probe idles when it has said its line, so this is the good end, too.
            said = expired.stdout or b""
    return LINE.strip().encode() in said
