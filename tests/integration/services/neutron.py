"""A real Neutron from PyPI, on MariaDB, whose ports any host may have: no agent connects anything.

A driver of the tests' own binds each port to a bridge, at once, and says that it is connected: on networks
called slow after two seconds, and on those called nowhere it binds none. All else is Neutron's: who may do
what, addresses, security groups, and what it tells the compute service.
"""

from pathlib import Path

from tests.integration.services.databases import MariaDB
from tests.integration.services.keystone import PROGRAMS, SERVICE, Keystone, serve
from tests.integration.services.process import Process, run
from tests.ports import free_port

CONFIGURATION = """\
[DEFAULT]
core_plugin = ml2
service_plugins = router,auto_allocate
transport_url = fake:/
auth_strategy = keystone
api_paste_config = {paste}
state_path = {directory}
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
send_events_interval = 1
[database]
connection = {database}
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = every_host
extension_drivers = port_security
[oslo_concurrency]
lock_path = {directory}
[oslo_messaging_notifications]
driver = noop
[keystone_authtoken]
auth_type = password
{credentials}
[nova]
auth_type = password
region_name = {region}
{credentials}
"""

DRIVER = """\
import threading

from neutron_lib import context as contexts
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api


class EveryHost(api.MechanismDriver):
    def initialize(self):
        pass

    def bind_port(self, context):
        name = context.network.current["name"]
        if name == "nowhere":
            return
        status = "DOWN" if name == "slow" else "ACTIVE"
        for segment in context.segments_to_bind:
            context.set_binding(segment[api.ID], "bridge", {"port_filter": True}, status=status)
            return

    def update_port_postcommit(self, context):
        if context.vif_type == "bridge" and context.current["status"] == "DOWN":
            arguments = (context.current["id"], context.host)
            threading.Timer(2, self._connect, arguments).start()

    def _connect(self, port, host):
        plugin = directory.get_plugin()
        plugin.update_port_status(contexts.get_admin_context(), port, "ACTIVE", host=host)
"""


class Neutron:
    """A network service that asks ``keystone`` who is who, and tells the compute service of ``region``."""

    def __init__(self, directory: Path, keystone: Keystone, database: MariaDB, region: str) -> None:
        self._directory = directory
        self._keystone = keystone
        self._database = database
        self._region = region
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: Process | None = None

    def start(self) -> None:
        """Make the database and start the service."""
        self._directory.mkdir(parents=True)
        configuration = self._directory / "neutron.conf"
        credentials = self._keystone.credentials(SERVICE)
        configuration.write_text(
            CONFIGURATION.format(
                directory=self._directory,
                paste=PROGRAMS.parent / "etc" / "neutron" / "api-paste.ini",
                database=self._database.url(f"neutron_{self._region}"),
                credentials="\n".join(f"{key} = {value}" for key, value in credentials.items()),
                region=self._region,
            )
        )
        self._install_driver()
        manage = [str(PROGRAMS / "neutron-db-manage"), "--config-file", str(configuration)]
        run([*manage, "upgrade", "heads"], seconds=300)
        self._process = serve(
            "neutron.wsgi.api:application",
            self._port,
            self._directory,
            {
                "OS_NEUTRON_CONFIG_DIR": str(self._directory),
                "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
                "PYTHONPATH": str(self._directory),
            },
        )

    def _install_driver(self) -> None:
        """Lay the driver beside the configuration, as an installed package would be."""
        (self._directory / "every_host.py").write_text(DRIVER)
        package = self._directory / "every_host-1.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: every_host\nVersion: 1\n")
        (package / "entry_points.txt").write_text(
            "[neutron.ml2.mechanism_drivers]\nevery_host = every_host:EveryHost\n"
        )

    def stop(self) -> None:
        """End the service."""
        if self._process:
            self._process.stop()
