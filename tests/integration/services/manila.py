"""A real Manila from PyPI, on MariaDB and RabbitMQ, whose shares are directories of this machine.

Where ``STAND_INS`` is on the path, whoever mounts one gets its directory: no kernel has to know NFS.
"""

import time
from pathlib import Path

from keystoneauth1 import adapter

from tests.integration.services.cinder import STAND_INS
from tests.integration.services.databases import MariaDB
from tests.integration.services.keystone import ADMIN, PROGRAMS, SERVICE, Keystone, serve
from tests.integration.services.process import NotReady, Process, run
from tests.integration.services.rabbitmq import RabbitMQ
from tests.ports import free_port

TYPE = "directories"
"""The share type."""

CONFIGURATION = """\
[DEFAULT]
transport_url = {transport}
auth_strategy = keystone
api_paste_config = {paste}
rootwrap_config = {rootwrap}
state_path = {directory}
enabled_share_backends = {type}
enabled_share_protocols = NFS
default_share_type = {type}
report_interval = 2
periodic_interval = 5
osapi_share_workers = 1
[{type}]
share_driver = directories_driver.DirectoriesDriver
share_backend_name = {type}
driver_handles_share_servers = false
directories_path = {directory}/shares
[database]
connection = {database}
[coordination]
backend_url = file://{directory}/coordination
[oslo_concurrency]
lock_path = {directory}/locks
[oslo_messaging_notifications]
driver = noop
[keystone_authtoken]
auth_type = password
{credentials}
"""


class Manila:
    """A share service of a deployment, by the region that it is in."""

    def __init__(
        self, directory: Path, peers: tuple[Keystone, MariaDB, RabbitMQ], region: str
    ) -> None:
        self._directory = directory
        self._keystone, self._database, self._broker = peers
        self._region = region
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v2"
        self._processes: dict[str, Process] = {}

    def start(self) -> None:
        """Make the database, and start every service."""
        for place in ("coordination", "locks", "shares"):
            (self._directory / place).mkdir(parents=True)
        self._configure()
        run([str(PROGRAMS / "manila-manage"), *self._arguments(), "db", "sync"], seconds=300)
        # It looks for its configuration at home.
        home = {"HOME": str(self._directory)}
        self._processes["api"] = serve(
            "manila.wsgi.api:application", self._port, self._directory, home
        )
        for service in ("scheduler", "share"):
            self._start(service)

    def prepare(self, seconds: float = 120) -> None:
        """Make the share type, and wait until shares can be made. The catalog must name ``keystone``."""
        api = adapter.Adapter(
            self._keystone.session(ADMIN),
            endpoint_override=self.url,
            additional_headers={"X-OpenStack-Manila-API-Version": "2.82"},
        )
        specs = {"driver_handles_share_servers": False}
        api.post(
            "/types",
            json={
                "share_type": {
                    "name": TYPE,
                    "extra_specs": specs,
                    "share_type_access:is_public": True,
                }
            },
        )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = [one["state"] for one in api.get("/services").json()["services"]]
            if states.count("up") >= len(self._processes) - 1:
                return
            time.sleep(0.1)
        tails = "\n".join(self.logs().values())
        raise NotReady(f"The services of Manila are {states}.\n{tails}")

    def let_in(self, share: str) -> str:
        """Return whom a share lets in, a line for each."""
        noted = self._directory / "shares" / f"{share}.access"
        return noted.read_text() if noted.exists() else ""

    def directory_of(self, export: str) -> Path:
        """Return the directory that is exported."""
        return Path(export.partition(":")[2])

    def stop(self) -> None:
        """End every service."""
        while self._processes:
            self._processes.popitem()[1].stop()

    def logs(self) -> dict[str, str]:
        """Return the end of every service's log, by the service's name."""
        return {f"manila-{name}": one.tail(60) for name, one in self._processes.items()}

    def _configure(self) -> None:
        credentials = self._keystone.credentials(SERVICE)
        etc = PROGRAMS.parent / "etc" / "manila"
        (self._directory / "manila.conf").write_text(
            CONFIGURATION.format(
                directory=self._directory,
                type=TYPE,
                transport=self._broker.transport_url(f"manila-{self._region}"),
                paste=etc / "api-paste.ini",
                rootwrap=etc / "rootwrap.conf",
                database=self._database.url(f"manila_{self._region}"),
                credentials="\n".join(f"{key} = {value}" for key, value in credentials.items()),
            )
        )

    def _arguments(self) -> tuple[str, str]:
        return ("--config-file", str(self._directory / "manila.conf"))

    def _start(self, service: str) -> None:
        self._processes[service] = Process(
            f"manila-{service}",
            [str(PROGRAMS / f"manila-{service}"), *self._arguments()],
            log=self._directory / f"{service}.log",
            env={"PYTHONPATH": str(STAND_INS)},
        )
