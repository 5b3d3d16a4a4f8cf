"""libvirt daemons of the tests' own, each a "host" that knows nothing of the others or of the machine's.

A daemon run by root keeps its state in fixed places, so it gets a mount namespace in which those places are
its scratch directory, and a process namespace whose end is the end of every guest. With ``networked`` it
has a network namespace, too, so that bridges and filters are its own. A daemon run by anybody
else keeps its state in that user's directories, which are moved to the scratch directory.
"""

import grp
import os
import pwd
import shutil
import signal
import uuid
from pathlib import Path

import libvirt

from tests.integration.services.process import NotReady, Process

DAEMON = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
host_uuid = "{uuid}"
log_outputs = "2:stderr"
"""

QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
vnc_listen = "127.0.0.1"
"""

PLACES = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "run": "/run/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "dbus": "/run/dbus",
    "switch": "/run/openvswitch",
}

# The first process of the namespace: lays the scratch directory over the fixed places, then only waits,
# and so takes leave of every guest that ends.
HOST = """\
set -e
[ "$LOOPBACK" = there ] || ip link set lo up
# With both versions of cgroups mounted, as here, libvirt's containers do not start.
umount /sys/fs/cgroup/unified 2>/dev/null || true
while [ $# -gt 0 ]; do [ -e "$2" ] || mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; done
: >"$0"
sleep infinity &
wait
"""

# Errors are raised; by default they are printed too.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


class Libvirtd:
    """One daemon. ``uri`` is how clients reach it."""

    def __init__(self, directory: Path, *, networked: bool = False) -> None:
        self.directory = directory
        self._networked = networked
        self._privileged = os.geteuid() == 0
        self._host: Process | None = None
        self.daemon: Process | None = None
        if self._privileged:
            self.uri = f"qemu+unix:///system?socket={directory}/run/libvirt-sock"
        else:
            self.uri = f"qemu+unix:///session?socket={directory}/run/libvirt/libvirt-sock"

    def start(self) -> None:
        """Start the daemon and wait until it answers; the first time it looks at QEMU for some seconds."""
        for name in PLACES:
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        etc = self.directory / "etc"
        (etc / "libvirtd.conf").write_text(DAEMON.format(uuid=uuid.uuid4()))
        if self._privileged:
            (etc / "qemu.conf").write_text(QEMU)
            self._start_host()
        else:
            (etc / "libvirt").mkdir(exist_ok=True)
            (etc / "libvirt" / "qemu.conf").write_text('stdio_handler = "file"\n')
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start the daemon beside the guests that there are; its address stays the same."""
        self.daemon = Process(
            "libvirtd",
            [
                *self.inside(),
                _program(),
                f"--config={self.directory / 'etc' / 'libvirtd.conf'}",
                f"--pid-file={self.directory / 'run' / 'libvirtd.pid'}",
            ],
            log=self.directory / "libvirtd.log",
            env=self._environment(),
        )
        self.daemon.wait_ready(self._answers)

    def kill_daemon(self) -> None:
        """Kill the daemon alone: its guests run on."""
        if self.daemon:
            os.kill(self._daemon_pid(self.daemon), signal.SIGKILL)
            # A daemon that was frozen has frozen its parent, too.
            self.daemon.send(signal.SIGCONT)
            self.daemon.wait(10)

    def freeze_daemon(self) -> None:
        """Let the daemon not answer, though it is there."""
        if self.daemon:
            os.kill(self._daemon_pid(self.daemon), signal.SIGSTOP)

    def thaw_daemon(self) -> None:
        """Let it go on where it was."""
        if self.daemon and self.daemon.returncode is None:
            # Its parent, if it has one, passes it on.
            self.daemon.send(signal.SIGCONT)

    def stop(self) -> None:
        """End every guest and the daemon."""
        if self._host:
            # The namespace takes all of its processes with it.
            self._host.kill()
            self._host.wait(10)
            if self.daemon:
                self.daemon.wait(10)
        elif self.daemon and self.daemon.returncode is None:
            for domain in self.domains():
                domain.destroy()
        if self.daemon:
            self.daemon.stop()

    def domains(self) -> "list[libvirt.virDomain]":
        """Return every domain that the daemon knows, running or not. Raises ``libvirt.libvirtError``."""
        return list(libvirt.open(self.uri).listAllDomains())

    def _start_host(self) -> None:
        ready = self.directory / "host-ready"
        ready.unlink(missing_ok=True)
        for name, text in _accounts().items():
            (self.directory / name).write_text(text)
        mounts = [*PLACES.items(), ("passwd", "/etc/passwd"), ("group", "/etc/group")]
        arguments = [word for name, place in mounts for word in (str(self.directory / name), place)]
        self._host = Process(
            "libvirt's host",
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(("--net",) if self._networked else ()),
                *("bash", "-c", HOST, str(ready), *arguments),
            ],
            log=self.directory / "host.log",
            env={"LOOPBACK": "missing" if self._networked else "there"},
        )
        self._host.wait_ready(ready.exists)

    def _daemon_pid(self, process: Process) -> int:
        """Inside a namespace the process is ``nsenter``, and the daemon is its child."""
        if not self._host:
            return process.pid
        return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())

    def inside(self) -> list[str]:
        """Return what runs a command on the host, in its namespaces."""
        if not self._host:
            return []
        namespaces = f"/proc/{self._host.pid}/ns"
        return [
            *("nsenter", f"--mount={namespaces}/mnt", f"--pid={namespaces}/pid_for_children"),
            *((f"--net={self.network}",) if self._networked else ()),
        ]

    @property
    def network(self) -> Path:
        """The network namespace of a networked daemon, in which its bridge and its guests' cards are.

        Raises:
            NotReady: only root can have one.
        """
        if self._host is None:
            raise NotReady("A network of its own takes root.")
        return Path(f"/proc/{self._host.pid}/ns/net")

    @property
    def mounts(self) -> Path:
        """The mount namespace of the daemon and its guests.

        Raises:
            NotReady: only root can have one.
        """
        if self._host is None:
            raise NotReady("A mount namespace of its own takes root.")
        return Path(f"/proc/{self._host.pid}/ns/mnt")

    def _environment(self) -> dict[str, str]:
        if self._privileged:
            return {}
        return {
            "XDG_CONFIG_HOME": str(self.directory / "etc"),
            "XDG_DATA_HOME": str(self.directory / "lib"),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
        }

    def _answers(self) -> bool:
        try:
            libvirt.open(self.uri).getVersion()
        except libvirt.libvirtError:
            return False
        return True


def _accounts() -> dict[str, str]:
    """Return the user and group files with the account that the QEMU driver looks for, and does not use."""
    files = {"passwd": Path("/etc/passwd").read_text(), "group": Path("/etc/group").read_text()}
    nobody = pwd.getpwnam("nobody")
    try:
        group = grp.getgrnam("libvirt-qemu").gr_gid
    except KeyError:
        group = nobody.pw_gid
        files["group"] += f"libvirt-qemu:x:{group}:\n"
    try:
        pwd.getpwnam("libvirt-qemu")
    except KeyError:
        files["passwd"] += f"libvirt-qemu:x:{nobody.pw_uid}:{group}::/nonexistent:/bin/false\n"
    return files


def _program() -> str:
    found = shutil.which("libvirtd", path=f"/usr/sbin{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise NotReady("libvirtd is not installed.")
    return found
