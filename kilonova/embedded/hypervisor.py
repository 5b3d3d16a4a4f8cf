"""Which hypervisor this machine has: libvirt's QEMU driver in this process, or its test driver."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import msgspec

from kilonova.core.errors import HypervisorUnavailable

_QEMU = "qemu-system-x86_64"
_LONGEST_ROOT = 45
"""Characters: QEMU's sockets stand below the root, and a socket's path is at most 107."""
_PROBE_SECONDS = 10
MARKER = b"BOOT-OK"
"""What the console of a guest of ours says when it is up."""

_QEMU_CONF = """\
user = "+{user}"
group = "+{group}"
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


def find(state_dir: Path, guest: Path | None) -> Hypervisor:
    """Return what guests run on here. ``guest`` is an image that tells by booting whether KVM works.

    Raises:
        HypervisorUnavailable: libvirt's Python binding is not installed.
    """
    # libvirt in this process would speak on our standard error, unless it is told before it is loaded.
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", f"2:file:{state_dir / 'libvirt.log'}")
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
    kvm = guest is not None and kvm_works(guest)
    version = libvirt.getVersion()
    how = "with KVM" if kvm else "emulating, as there is no usable KVM"
    return Hypervisor(
        uri=f"qemu:///embed?root={root}",
        virt_type="kvm" if kvm else "qemu",
        shown=f"libvirt {version // 1_000_000}.{version // 1000 % 1000}, QEMU {how}",
    )


def _configure(root: Path) -> None:
    """Write the QEMU driver's configuration; guests run as whoever runs this."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    user = os.geteuid()
    cgroups = (
        "" if user == 0 and os.access("/sys/fs/cgroup", os.W_OK) else "cgroup_controllers = []\n"
    )
    text = _QEMU_CONF.format(user=user, group=os.getegid(), cgroups=cgroups)
    (root / "etc/qemu.conf").write_text(text)


def kvm_works(guest: Path) -> bool:
    """Whether this guest really boots under KVM.

    /dev/kvm may open, make a machine and run a boot loader, and yet no kernel: only a boot tells.
    """
    flags = Path("/proc/cpuinfo").read_text()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not re.search(r"\b(vmx|svm)\b", flags):
        return False
    command = [_QEMU, "-accel", "kvm", "-cpu", "host", "-m", "128", "-display", "none"]
    command += ["-nodefaults", "-serial", "stdio", "-snapshot", "-drive", f"file={guest},if=virtio"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as probe:
        timer = threading.Timer(_PROBE_SECONDS, probe.kill)
        timer.start()
        try:
            return any(MARKER in line for line in probe.stdout or ())
        finally:
            timer.cancel()
            probe.kill()
