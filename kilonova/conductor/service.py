"""The conductor's service: the super conductor where ``[api_database]`` is configured, a cell conductor
where ``[database]`` is; one process is usually both."""

from oslo_config import cfg

from kilonova.conductor.cell_conductor import CellConductor
from kilonova.conductor.converger import Converger, scene_of
from kilonova.conductor.fencing import Fencer
from kilonova.conductor.notices import Notices
from kilonova.conductor.repairs import Hands
from kilonova.conductor.super_conductor import SuperConductor
from kilonova.core.ids import HostName
from kilonova.db.cell_database import CellDatabase
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Server
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import Topic
from kilonova.rpc.notifications import notifier

_POOL = 10


class ConductorService:
    """Serves ``Topic.CONDUCTOR`` and ``Topic.CELL_CONDUCTOR``, each where its database is configured."""

    def __init__(self, conf: cfg.ConfigOpts, buses: Buses, placement: Placement) -> None:
        self._name: HostName = conf.host
        self._bus = buses.default()
        self._notifier = notifier.load(conf)
        notices = Notices(self._notifier, self._name)
        self._servers: list[Server] = []
        self._databases: list[Database] = []
        self._super: SuperConductor | None = None
        self._converger: Converger | None = None
        self._fencer: Fencer | None = None
        self._cell: CellConductor | None = None
        if conf.api_database.connection:
            api_db = Database(conf.api_database.connection, pool_size=_POOL)
            cells = Cells(api_db, pool_size=_POOL)
            self._databases.append(api_db)
            collaborators = (api_db, cells, buses, placement)
            self._super = SuperConductor(conf, collaborators, notices)
            self._fencer = Fencer(conf.ha.fence_command, cells, self._hurry)
            self._fencer.check(conf.ha.evacuate_on_host_failure)
            hands = Hands(
                drive=self._super.arrive,
                move=self._super.moves.take_note,
                run=self._super.tasks.take_note,
                fence=self._fencer.take_note,
            )
            self._converger = Converger(conf, scene_of(conf, collaborators, notices, hands))
        if conf.database.connection:
            cell_db = CellDatabase(conf.database.connection, pool_size=_POOL)
            self._databases.append(cell_db)
            self._cell = CellConductor(cell_db, self._bus, placement, notices)

    def _hurry(self) -> None:
        if self._converger is not None:
            self._converger.hurry()

    def start(self) -> None:
        """Listen."""
        if self._super is not None and self._converger is not None:
            self._super.start()
            self._servers.append(self._bus.serve(Topic.CONDUCTOR, self._name, self._super))
            self._converger.start()
        if self._cell is not None:
            self._servers.append(self._bus.serve(Topic.CELL_CONDUCTOR, self._name, self._cell))

    def stop(self) -> None:
        """Take no more messages, and return when those in hand are handled."""
        for server in self._servers:
            server.stop()
        if self._converger is not None:
            self._converger.stop()
        if self._fencer is not None:
            self._fencer.stop()
        if self._super is not None:
            self._super.stop()
        self._notifier.close()
        for database in self._databases:
            database.dispose()
