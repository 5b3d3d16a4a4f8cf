"""A real Cinder from PyPI, on MariaDB and RabbitMQ, with volumes that are files of this machine.

It has two backends, each with a volume type of its name. ``exports`` is Cinder's own NFS driver; where
``STAND_INS`` is on the path, whoever mounts an export gets its directory: no kernel has to know NFS.
``files`` is a driver of the tests' own, whose volumes grow while servers have them; several servers may
have those of the type ``shared``.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

from keystoneauth1 import adapter

from tests.integration.services.databases import MariaDB
from tests.integration.services.keystone import ADMIN, PROGRAMS, SERVICE, Keystone, serve
from tests.integration.services.libvirtd import Libvirtd
from tests.integration.services.process import NotReady, Process, run
from tests.integration.services.rabbitmq import RabbitMQ
from tests.ports import free_port

EXPORTS, FILES, SHARED = "exports", "files", "shared"
"""The volume types."""

STAND_INS = Path(__file__).parent / "stand_ins"
"""What a machine with NFS has in place of ours, and the driver of ``files``."""

_SERVICES = 3
"""The scheduler, and a volume service for each backend."""

CONFIGURATION = """\
[DEFAULT]
transport_url = {transport}
auth_strategy = keystone
api_paste_config = {paste}
resource_query_filters_file = {filters}
state_path = {directory}
enabled_backends = {exports},{files}
default_volume_type = {exports}
glance_api_servers = {glance}
image_conversion_dir = {directory}/conversion
rootwrap_config = {rootwrap}
periodic_interval = 5
report_interval = 2
scheduler_driver_init_wait_time = 1
osapi_volume_workers = 1
[{exports}]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = {exports}
nfs_shares_config = {directory}/shares
nfs_mount_point_base = {directory}/mnt
nfs_snapshot_support = true
nfs_mount_options = vers=4
nas_secure_file_operations = false
nas_secure_file_permissions = false
[{files}]
volume_driver = files_driver.FilesDriver
volume_backend_name = {files}
files_directory = {directory}/files
[database]
connection = {database}
[coordination]
backend_url = file://{directory}/coordination
[oslo_concurrency]
lock_path = {directory}/locks
[oslo_messaging_notifications]
driver = noop
[privsep_osbrick]
helper_command = {programs}/privsep-helper
[cinder_sys_admin]
helper_command = {programs}/privsep-helper
[keystone_authtoken]
auth_type = password
service_token_roles = service
service_token_roles_required = true
{credentials}
[nova]
auth_type = password
region_name = {region}
{credentials}
[service_user]
send_service_user_token = true
auth_type = password
{credentials}
"""


def mounting(libvirtd: Libvirtd) -> tuple[str, ...]:
    """Return a command that runs a host's compute service so that its exports are its hypervisor's, too."""
    return (
        *("env", f"PATH={STAND_INS}:{os.environ['PATH']}", f"ALSO_IN={libvirtd.mounts}"),
        *("unshare", "--mount"),
    )


class Cinder:
    """A block storage service, which asks ``peers`` and tells the compute service of ``region``."""

    def __init__(
        self, directory: Path, peers: tuple[Keystone, MariaDB, RabbitMQ], images: str, region: str
    ) -> None:
        self._directory = directory
        self._keystone, self._database, self._broker = peers
        self._images = images
        self._region = region
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v3"
        # A file system of its own, as an export is where it is mounted.
        self._export = Path(tempfile.mkdtemp(prefix="kilonova-export-", dir="/dev/shm"))
        self._export.chmod(0o755)
        self._processes: dict[str, Process] = {}

    def start(self) -> None:
        """Make the database, and start every service."""
        for place in ("mnt", "conversion", "coordination", "locks"):
            (self._directory / place).mkdir(parents=True)
        (self._directory / "shares").write_text(f"127.0.0.1:{self._export}\n")
        self._configure()
        run([str(PROGRAMS / "cinder-manage"), *self._arguments(), "db", "sync"], seconds=300)
        self.start_api()
        for service in ("scheduler", "volume"):
            self._start(service)

    def prepare(self) -> None:
        """Make the volume types, and wait until volumes can be made. The catalog must name ``keystone``."""
        api = adapter.Adapter(self._keystone.session(ADMIN), endpoint_override=self.url)
        self._add_types(api)
        self._wait_for_services(api)

    def start_api(self) -> None:
        """Start the API, if it is away; its address stays the same."""
        if "api" in self._processes:
            return
        self._processes["api"] = serve(
            "cinder.wsgi.api:application",
            self._port,
            self._directory,
            # It looks for its configuration at home.
            {"HOME": str(self._directory)},
        )

    def stop_api(self) -> None:
        """Be away for those who ask."""
        self._processes.pop("api").stop()

    def stop(self) -> None:
        """End every service, and remove the volumes."""
        while self._processes:
            self._processes.popitem()[1].stop()
        shutil.rmtree(self._export, ignore_errors=True)

    def file_of(self, volume: str) -> Path:
        """Return the file of a volume of the type ``files``."""
        return self._directory / "files" / volume

    def logs(self) -> dict[str, str]:
        """Return the end of every service's log, by the service's name."""
        return {f"cinder-{name}": one.tail(60) for name, one in self._processes.items()}

    def _configure(self) -> None:
        credentials = self._keystone.credentials(SERVICE)
        etc = PROGRAMS.parent / "etc" / "cinder"
        (self._directory / "cinder.conf").write_text(
            CONFIGURATION.format(
                directory=self._directory,
                exports=EXPORTS,
                files=FILES,
                export=self._export,
                transport=self._broker.transport_url(f"cinder-{self._region}"),
                paste=etc / "api-paste.ini",
                filters=etc / "resource_filters.json",
                rootwrap=etc / "rootwrap.conf",
                database=self._database.url(f"cinder_{self._region}"),
                glance=self._images,
                programs=PROGRAMS,
                credentials="\n".join(f"{key} = {value}" for key, value in credentials.items()),
                region=self._region,
            )
        )

    def _arguments(self) -> tuple[str, str]:
        return ("--config-file", str(self._directory / "cinder.conf"))

    def _start(self, service: str) -> None:
        self._processes[service] = Process(
            f"cinder-{service}",
            # What it mounts goes with it.
            ["unshare", "--mount", str(PROGRAMS / f"cinder-{service}"), *self._arguments()],
            log=self._directory / f"{service}.log",
            env={"PATH": f"{STAND_INS}:{os.environ['PATH']}", "PYTHONPATH": str(STAND_INS)},
        )

    def _add_types(self, api: adapter.Adapter) -> None:
        shared = {"volume_backend_name": FILES, "multiattach": "<is> True"}
        own = {name: {"volume_backend_name": name} for name in (EXPORTS, FILES)}
        for name, specs in {**own, SHARED: shared}.items():
            api.post("/types", json={"volume_type": {"name": name, "extra_specs": specs}})

    def _wait_for_services(self, api: adapter.Adapter, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = [one["state"] for one in api.get("/os-services").json()["services"]]
            if states.count("up") == _SERVICES:
                return
            time.sleep(0.1)
        tails = "\n".join(self.logs().values())
        raise NotReady(f"The services of Cinder are {states}.\n{tails}")
