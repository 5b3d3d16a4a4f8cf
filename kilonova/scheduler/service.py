"""The scheduler's service: answers ``SelectDestinations``."""

from oslo_config import cfg

from kilonova.core.ids import HostName
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus, Server
from kilonova.rpc.messages import Topic
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.neighbours import Neighbours
from kilonova.scheduler.selection import Selection


class SchedulerService:
    """Serves ``Topic.SCHEDULER`` on the top level's bus."""

    def __init__(
        self, conf: cfg.ConfigOpts, bus: Bus, api_db: Database, cells: Cells, placement: Placement
    ) -> None:
        self._name: HostName = conf.host
        self._bus = bus
        self.hosts = Hosts(conf, api_db, cells)
        neighbours = Neighbours(api_db, cells)
        self._selection = Selection(conf, self.hosts, placement, neighbours)
        self._server: Server | None = None

    def start(self) -> None:
        """Read the hosts and listen."""
        self.hosts.start()
        self._server = self._bus.serve(Topic.SCHEDULER, self._name, self._selection, threads=8)

    def stop(self) -> None:
        """Take no more messages, and return when those in hand are answered."""
        if self._server is not None:
            self._server.stop()
        self.hosts.stop()
