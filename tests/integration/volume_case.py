"""Servers with volumes of a real Cinder's. Their guests say on their consoles what they find on them."""

from typing import Any, ClassVar

import requests
from testtools.content import text_content

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.clients.client import Client
from tests.integration.deployment import Deployment, Host, libvirt_host
from tests.integration.guest_image import keep_guest_image
from tests.integration.real_server import RealServer
from tests.integration.services.cinder import Cinder, mounting
from tests.integration.services.keystone import ADMIN, DEMO
from tests.integration.services.process import CommandFailed

SCRIPT = """\
#!/bin/sh
mount -t vfat /dev/vda /mnt && echo started >>/mnt/starts && sync
echo "STARTS $(grep -c started /mnt/starts)"
umount /mnt
while sleep 0.2; do
    now=
    for disk in /sys/block/vd?; do
        now="$now ${disk##*/}=$(cat $disk/serial)=$(cat $disk/size)"
    done
    for one in $now; do
        case "$seen " in *" $one "*) continue ;; esac
        name=${one%%=*} serial=${one#*=} size=${one##*=}
        serial=${serial%=*}
        [ "$serial" ] && [ "$(cat /sys/block/$name/ro)" = 0 ] || continue
        holds=$(dd if=/dev/$name bs=64 count=1 2>/dev/null | tr -cd 'a-z0-9-')
        echo "DISK $serial has $((size >> 11)) MiB and holds ${holds:-nothing}"
        [ "$holds" ] || { echo "of-$(hostname)" >/dev/$name; sync; }
    done
    for one in $seen; do
        case "$now " in *" ${one%=*}="*) ;; *) echo "GONE ${one#*=}" ;; esac
    done
    seen=$now
done &
"""
"""Says of each disk what is on it, writes the guest's name on an empty one, and says which ones go."""

SECONDS = 120
_SERIAL = 20
"""Characters of a volume's id that a guest sees."""


class VolumeCase(BootTest):
    """A test against two hosts with real guests, and a block storage service."""

    hosts: ClassVar[tuple[str, ...]] = ("contract", "contract-2")
    client: ClassVar[Client]

    @classmethod
    def describe(cls) -> Deployment:
        """Return the deployment."""
        settings: dict[str, dict[str, object]] = {"compute": {"shutdown_timeout": 5}}
        hosts = [cls._host(name) for name in cls.hosts]
        return Deployment("vols", services.mariadb(), hosts, settings=settings, has_cinder=True)

    @classmethod
    def _host(cls, name: str) -> Host:
        libvirtd = services.libvirtd(name)
        host = libvirt_host(name, libvirtd.uri, "qemu")
        return Host(name, host.sections, within=mounting(libvirtd))

    @classmethod
    def setUpClass(cls) -> None:
        """Make what servers are made of."""
        super().setUpClass()
        cls.client = Client(cls.deployment.directory / "clouds.yaml")
        cls.addClassCleanup(cls.client.stop)
        cls.client.run("flavor", "create", "--vcpus", "1", "--ram", "112", "--disk", "1", "small")
        keep_guest_image(cls.client, cls)
        cls.script = cls.deployment.directory / "script"
        cls.script.write_text(SCRIPT)

    def setUp(self) -> None:
        """Show Cinder's logs and the guests' consoles, too, if the test fails."""
        super().setUp()
        self.cinder: Cinder = services.cinder(self.deployment.name)
        self.addOnException(self._add_more_logs)
        self.addCleanup(self._remove_volumes)

    def _add_more_logs(self, _info: Any) -> None:
        for name, tail in self.cinder.logs().items():
            self.addDetail(f"{name}.log", text_content(tail))
        for log in self.deployment.directory.glob("*-state/instances/*/console.log"):
            self.addDetail(str(log), text_content(log.read_text(errors="replace")))

    # ---- what is asked

    def demo(self, *command: str) -> str:
        """Run the client as the owner."""
        return self.client.run(*command, user=DEMO)

    def shown(self, *command: str, user: str = DEMO) -> Any:
        """Return what the client shows."""
        return self.client.show(*command, user=user)

    def refused(self, *command: str, user: str = DEMO) -> str:
        """Run a command that fails, and return what it says."""
        return str(self.assertRaises(CommandFailed, self.client.run, *command, user=user))

    def attach(self, server: RealServer, volume: str) -> requests.Response:
        """Ask for a volume without the client, as the owner, and return the answer."""
        return requests.post(
            f"{self.deployment.compute_url}/servers/{server.uuid}/os-volume_attachments",
            json={"volumeAttachment": {"volumeId": volume}},
            headers={"X-Auth-Token": self.deployment.token(DEMO)},
            timeout=60,
        )

    def create(self, name: str, *options: str) -> RealServer:
        """Ask for a server whose guest watches its disks."""
        uuid = self.demo(
            *("server", "create", "--flavor", "small", "--nic", "none", "--use-config-drive"),
            *("--user-data", str(self.script), *options, "-f", "value", "-c", "id", name),
        )
        return RealServer(self.deployment, uuid.strip())

    def boot(self, *names: str) -> list[RealServer]:
        """Return servers once their guests watch their disks."""
        servers = [self.create(name, "--image", "linux") for name in names]
        for server in servers:
            server.until("ACTIVE")
            server.until_started(1)
        return servers

    def volume(self, *options: str, size: int = 1, user: str = DEMO) -> str:
        """Make a volume and return its id, once it is there."""
        made = self.shown(
            "volume", "create", "--size", str(size), *options, f"volume-{size}", user=user
        )
        self.until_volume(made["id"], "available")
        return str(made["id"])

    # ---- what is seen

    def volumes(self) -> dict[str, dict[str, Any]]:
        """Return every volume that there is, by its id."""
        listed = self.shown("volume", "list", "--all-projects", "--long", user=ADMIN)
        return {one["ID"]: one for one in listed}

    def until_volume(self, volume: str, status: str) -> None:
        """Wait until a volume has a status."""
        eventually(
            f"volume {volume} is {status}",
            SECONDS,
            lambda: self.volumes()[volume]["Status"] == status,
        )

    def attached(self, server: RealServer) -> list[str]:
        """Return the volumes that a server is shown with."""
        return [one["id"] for one in server.shown()["os-extended-volumes:volumes_attached"]]

    def snapshots(self) -> dict[str, str]:
        """Return the statuses of snapshots, by their names."""
        return {one["Name"]: one["Status"] for one in self.shown("volume", "snapshot", "list")}

    def until_snapshot(self, name: str, status: str) -> None:
        """Wait until a snapshot has a status."""
        eventually(f"{name} is {status}", SECONDS, lambda: self.snapshots()[name] == status)

    def guests(self, host: str) -> list[str]:
        """Return the names of a host's guests."""
        return [domain.name() for domain in services.libvirtd(host).domains()]

    def until_found(self, server: RealServer, volume: str, holds: str, mib: int = 1024) -> None:
        """Wait until a guest says of a volume what is on it."""
        server.until_said(f"DISK {volume[:_SERIAL]} has {mib} MiB and holds {holds}")

    def until_lost(self, server: RealServer, volume: str) -> None:
        """Wait until a guest says that a volume is gone."""
        server.until_said(f"GONE {volume[:_SERIAL]}")

    def tearDown(self) -> None:
        """See that nothing is left of any server, in Cinder either."""
        self.delete_all()
        eventually(
            "no volume is anybody's",
            SECONDS,
            lambda: {one["Status"] for one in self.volumes().values()} <= {"available"},
        )
        listed = ("volume", "attachment", "list", "--all-projects")
        version = ("--os-volume-api-version", "3.27")
        self.assertEqual([], self.shown(*version, *listed, user=ADMIN))
        super().tearDown()

    def _remove_volumes(self) -> None:
        """Let no test that failed leave anything to the next."""
        for snapshot in self.shown("volume", "snapshot", "list", "--all-projects", user=ADMIN):
            self.client.run("volume", "snapshot", "delete", "--force", snapshot["ID"])
        for volume, one in self.volumes().items():
            if one["Status"] != "available":
                self.client.run("volume", "set", "--state", "error", "--detached", volume)
            self.client.run("volume", "delete", "--force", volume)
        eventually("no volume is left", SECONDS, lambda: not self.volumes())
