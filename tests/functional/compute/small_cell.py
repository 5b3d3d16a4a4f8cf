"""A cell without an API above it, for compute hosts under test: its database, Placement, its conductor."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from kilonova.compute.inventory import provider_uuid
from kilonova.conductor.cell_conductor import CellConductor
from kilonova.core import flavor, settings, states
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.host import NodeReport
from kilonova.core.ids import CellUuid, HostName, NodeName, RequestId
from kilonova.core.instance import Fault, Instance, InstanceAction
from kilonova.core.orders import Order, rule_of
from kilonova.core.scheduling import Destination
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db import actions, instances, tasks
from kilonova.db.engine import Database
from kilonova.db.instances import Placed
from kilonova.db.migrate import upgrade
from kilonova.http.server import ThreadedServer
from kilonova.placement import client, wsgi
from kilonova.placement.client import Claim
from kilonova.rpc.bus import Server
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import ActOnInstance, BuildInstance, DeleteInstance, Message, Topic

CELL = CellUuid("11111111-1111-4111-8111-111111111111")

_OPTIONS = """\
[DEFAULT]
transport_url = {bus}
report_interval = 1
[api]
auth_strategy = noauth2
[placement_database]
connection = sqlite:///{directory}/placement.sqlite
"""
_PLACEMENT = """\
[placement]
auth_type = admin_token
endpoint = http://127.0.0.1:{port}
token = admin
"""


class SmallCell:
    """``options`` is what a compute host's configuration says to be in this cell.

    ``database`` is the cell's, ``placement`` a client. The conductor runs from the start.
    """

    def __init__(self, directory: Path, bus_url: str = "") -> None:
        bus_url = bus_url or f"memory://{uuid.uuid4()}"
        file = directory / "cell.conf"
        file.write_text(_OPTIONS.format(bus=bus_url, directory=directory))
        conf = settings.read_config(["--config-file", str(file)], prog="kilonova")
        upgrade(Database(conf.placement_database.connection), "placement")
        self._served = ThreadedServer(wsgi.build(conf), "127.0.0.1", 0)
        self._served.start()
        placement = _PLACEMENT.format(port=self._served.port)
        self.options = file.read_text() + placement
        file.write_text(self.options)
        conf = settings.read_config(["--config-file", str(file)], prog="kilonova")
        self.placement = client.load(conf)
        self.database = Database(f"sqlite:///{directory}/cell.sqlite")
        upgrade(self.database, "cell")
        self._buses = Buses(conf)
        self.bus = self._buses.default()
        self._conductor: Server | None = None
        self.come()

    def go(self) -> None:
        """Be a cell whose conductor is away."""
        if self._conductor is not None:
            self._conductor.stop()
            self._conductor = None

    def come(self) -> None:
        """Let the conductor be back."""
        conductor = CellConductor(self.database, self.bus, self.placement)
        self._conductor = self.bus.serve(Topic.CELL_CONDUCTOR, "conductor", conductor)

    def stop(self) -> None:
        """End all of it."""
        self.go()
        self._served.stop()
        self._buses.close()
        self.database.dispose()

    def add_host(self, node: NodeReport) -> None:
        """Make a host's resource provider, as the host does when it starts."""
        self.placement.ensure_provider(node.provider_uuid, node.node, node.inventory, node.traits)

    def place(self, server: Instance, *alternates: HostName) -> Instance:
        """Write and claim a server as the super conductor does, and return it."""
        assert server.host is not None
        waiting = msgspec.structs.replace(
            server,
            vm_state=VmState.BUILDING,
            task_state=TaskState.SCHEDULING,
            created_at=utcnow(),
            updated_at=utcnow(),
        )
        action = InstanceAction(
            action=Action.CREATE,
            instance_uuid=server.uuid,
            request_id=request_of(server),
            user_id=server.user_id,
            project_id=server.project_id,
            started_at=waiting.created_at,
        )
        destinations = tuple(destination(waiting, host) for host in (server.host, *alternates))
        claim = Claim(
            consumer=server.uuid,
            project_id=server.project_id,
            user_id=server.user_id,
            allocation=destinations[0].allocation,
            fence=server.epoch,
        )
        refused = self.placement.claim([claim])
        assert not refused, refused
        placed = Placed(instance=waiting, action=action, destinations=destinations)
        instances.insert(self.database, [placed])
        return waiting

    def build(self, server: Instance, *alternates: HostName) -> Instance:
        """Place a server and tell its host to build it."""
        waiting = self.place(server, *alternates)
        assert server.host is not None
        message = BuildInstance(instance=waiting, destination=destination(waiting, server.host))
        self.tell(waiting, message)
        return waiting

    def begin(self, server: Instance, order: Order) -> ActOnInstance:
        """Begin an action on a server, and return the message that gives its host the order.

        The message is sent under the request ``ordered`` names.
        """
        rule = rule_of(order)
        record = InstanceAction(
            action=states.recorded_as(rule),
            instance_uuid=server.uuid,
            request_id=ordered(server, rule),
            user_id=server.user_id,
            project_id=server.project_id,
            started_at=utcnow(),
        )
        begun = tasks.begin(self.database, self.get(server), rule, record)
        assert begun is not None
        return ActOnInstance(instance=begun, order=order)

    def act(self, server: Instance, order: Order) -> ActOnInstance:
        """Begin an action on a server, tell its host, and return the message."""
        message = self.begin(server, order)
        self.repeat(message)
        return message

    def repeat(self, message: ActOnInstance) -> None:
        """Send an order, which may have been sent before."""
        request = ordered(message.instance, rule_of(message.order))
        self.bus.cast(RequestContext(request_id=request), message, host=message.instance.host)

    def action(self, server: Instance, rule: str) -> InstanceAction:
        """Return the action that ``begin`` recorded for an order."""
        found = actions.get_action(self.database, server.uuid, ordered(server, rule))
        assert found is not None
        return found

    def delete(self, server: Instance) -> None:
        """Begin to delete a server, and tell its host."""
        instances.update(self.database, server.uuid, {"task_state": TaskState.DELETING})
        self.tell(server, DeleteInstance(instance=server))

    def tell(self, server: Instance, message: Message) -> None:
        """Send a message to a server's host."""
        context = RequestContext(request_id=request_of(server))
        self.bus.cast(context, message, host=server.host)

    def get(self, server: Instance) -> Instance:
        """Return a server as the cell has it, deleted or not."""
        found = instances.get(self.database, server.uuid, with_deleted=True)
        assert found is not None
        return found

    def fault(self, server: Instance) -> Fault | None:
        """Return why a server is in ERROR."""
        return instances.newest_faults(self.database, [server.uuid]).get(server.uuid)

    def events(self, server: Instance) -> dict[str, str | None]:
        """Return the results of the stages of a server's build, by name."""
        action = actions.get_action(self.database, server.uuid, request_of(server))
        assert action is not None
        return {event.name: event.result for event in action.events}

    def held(self, server: Instance) -> dict[str, Any]:
        """Return what a server holds in Placement."""
        return dict(self.placement.holding(server.uuid).allocation)


def request_of(server: Instance) -> RequestId:
    """Return the request under which a server is built."""
    return RequestId(f"req-{server.uuid}")


def ordered(server: Instance, rule: str) -> RequestId:
    """Return the request under which a server gets an order."""
    return RequestId(f"req-{rule}-{server.uuid}")


def destination(server: Instance, host: HostName) -> Destination:
    """Return a host as the scheduler chooses it for a server."""
    provider = provider_uuid(host, NodeName(host))
    return Destination(
        host=host,
        node=NodeName(host),
        cell_uuid=CELL,
        provider_uuid=provider,
        availability_zone="nova",
        allocation={provider: flavor.resources(server.flavor)},
    )


def until(what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for a condition. Raises AssertionError, saying what should have come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
