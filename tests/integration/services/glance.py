"""A real Glance from PyPI, on MariaDB, with its images in a directory."""

from pathlib import Path

from tests.integration.services.databases import MariaDB
from tests.integration.services.keystone import PROGRAMS, SERVICE, Keystone, serve
from tests.integration.services.process import Process, run
from tests.ports import free_port

CONFIGURATION = """\
[DEFAULT]
enabled_backends = files:file
[database]
connection = {database}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
config_file = {paste}
flavor = keystone
[keystone_authtoken]
auth_type = password
{credentials}
"""


class Glance:
    """An image service that asks ``keystone`` who is who."""

    def __init__(self, directory: Path, keystone: Keystone, database: MariaDB) -> None:
        self._directory = directory
        self._keystone = keystone
        self._database = database
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: Process | None = None

    def start(self) -> None:
        """Make the database and start the service."""
        for place in ("images", "staging", "tasks"):
            (self._directory / place).mkdir(parents=True)
        configuration = self._directory / "glance-api.conf"
        credentials = self._keystone.credentials(SERVICE)
        configuration.write_text(
            CONFIGURATION.format(
                directory=self._directory,
                database=self._database.url("glance"),
                paste=PROGRAMS.parent / "etc" / "glance" / "glance-api-paste.ini",
                credentials="\n".join(f"{key} = {value}" for key, value in credentials.items()),
            )
        )
        run([str(PROGRAMS / "glance-manage"), "--config-file", str(configuration), "db_sync"])
        self._process = serve("glance.wsgi.api:application", self._port, self._directory)

    def stop(self) -> None:
        """End the service."""
        if self._process:
            self._process.stop()
