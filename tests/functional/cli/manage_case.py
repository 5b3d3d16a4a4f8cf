"""``kilonova-manage`` in a process: its commands run on databases in a directory."""

import io
import tempfile
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path

import testtools

from kilonova.cli import manage
from kilonova.core import settings
from kilonova.core.clock import utcnow
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, NodeName, ProviderUuid
from kilonova.db import hosts
from kilonova.db.engine import Database

CELL = "11111111-1111-4111-8111-111111111111"


class ManageCase(testtools.TestCase):
    """An empty directory, and a configuration of databases in it."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.databases = (
            f"[api_database]\nconnection = {self.url('api')}\n"
            f"[database]\nconnection = {self.url('cell1')}\n"
            f"[placement_database]\nconnection = {self.url('placement')}\n"
        )
        self.configure(self.databases)

    def url(self, name: str) -> str:
        """Return the URL of a database in the directory."""
        return f"sqlite:///{self.directory / name}.db"

    def configure(self, text: str, bus: str = "rabbit://nova:sesame@mq:5672/") -> None:
        """Write the configuration; no broker answers but ``memory://``."""
        path = self.directory / "kilonova.conf"
        path.write_text(f"[DEFAULT]\ntransport_url = {bus}\n{text}")
        self.conf = settings.read_config(["--config-file", str(path)], prog="kilonova-manage")

    def run_command(self, *words: str) -> tuple[int, str]:
        """Run a command and return its exit status and what it printed."""
        options = manage._parser().parse_args(words)
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = options.command(self.conf, options)
        return code, printed.getvalue()

    def beat(self, host: str, ago: float = 0.0, cell: str = "cell1") -> None:
        """Let a compute host have reported to a cell's database."""
        report = NodeReport(
            node=NodeName(host),
            provider_uuid=ProviderUuid(host),
            hypervisor_type="QEMU",
            hypervisor_version=1,
            host_ip="192.0.2.1",
            vcpus=1,
            memory_mb=1,
            disk_gb=1,
        )
        database = Database(self.url(cell))
        self.addCleanup(database.dispose)
        service = (hosts.COMPUTE, HostName(host), "compute")
        hosts.beat(database, service, [report], utcnow() - timedelta(seconds=ago))
