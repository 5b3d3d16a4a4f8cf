"""One of everything that the API shows, for tests that ask every route."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from kilonova.core.clock import utcnow
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    CellUuid,
    FlavorId,
    HostName,
    ImageId,
    InstanceUuid,
    NodeName,
    RequestId,
)
from kilonova.core.image import Image
from kilonova.core.instance import ActionEvent, Fault, Instance, KeyPair, Nic, Wishes
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.core.states import PowerState, VmState
from kilonova.core.volume import Volume
from kilonova.db import acceptance, actions, build_requests, instances
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.api_schema import ApiBase, InstanceMapping
from kilonova.db.builds import fail, note_freed
from kilonova.db.cell_schema import CellBase
from kilonova.db.statements import table_of
from tests.functional.api.api_case import CELL, ApiCase
from tests.functional.db import servers

_mappings = table_of(InstanceMapping)

ACTIVE = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000001")
FAILED = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000002")
WAITING = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000003")
GONE = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000004")
SERVERS = (ACTIVE, FAILED, WAITING, GONE)
"""An ACTIVE server with everything, one in ERROR, one that has no cell yet, and one that was deleted."""

PROVIDER = "aaaaaaaa-0000-4000-8000-000000000001"
ATTACHMENT = "eeeeeeee-0000-4000-8000-000000000002"
VOLUME = "eeeeeeee-0000-4000-8000-000000000001"
DATA = Volume(volume_id=VOLUME, device="/dev/vdc", attachments={HostName("h1"): ATTACHMENT})
REQUEST = RequestId("req-cccccccc-0000-4000-8000-000000000001")
IMAGE = Image(
    image_id=ImageId("dddddddd-0000-4000-8000-000000000001"),
    name="guest",
    status="active",
    properties={"hw_disk_bus": "virtio"},
)
FLAVOR = Flavor(
    flavor_id=FlavorId("1"),
    name="small",
    vcpus=1,
    memory_mb=512,
    root_gb=1,
    extra_specs={"hw:cpu_policy": "shared"},
)
KEY = KeyPair(name="k", kind="ssh", fingerprint="aa:bb", public_key="ssh-ed25519 AAAA ann")

CARD = Nic(
    network="public",
    network_id="ffffffff-0000-4000-8000-000000000001",
    mac="fa:16:3e:00:00:07",
    address="203.0.113.7",
    prefix=24,
    gateway="203.0.113.1",
    dns="",
)


class Populated(ApiCase):
    """Project-a's servers, group and Ann's key pair; a host in an aggregate; a private flavor."""

    def options(self) -> str:
        """Let the host count as alive for as long as a test takes."""
        return "[DEFAULT]\nservice_down_time = 3600\n"

    def setUp(self) -> None:
        super().setUp()
        now = utcnow()
        self.add_host("h1", booted_at=now - timedelta(days=2))
        self._admins_things()
        for uuid in SERVERS:
            self.add_server(uuid)
        instances.mark_deleted(self.cell_db, [GONE], now)
        build_requests.queue_for_delete(self.api_db, GONE)
        fault = Fault(code=500, message="No valid host was found.", created_at=now, details="all")
        fail(self.cell_db, FAILED, 0, fault)
        note_freed(self.cell_db, FAILED, 1)

    def _admins_things(self) -> None:
        flavor = {"id": "1", "name": "small", "vcpus": 1, "ram": 512, "disk": 1}
        self.asked(200, "POST", "/flavors", {"flavor": flavor})
        private = flavor | {"id": "2", "name": "private", "os-flavor-access:is_public": False}
        self.asked(200, "POST", "/flavors", {"flavor": private})
        self.asked(
            200, "POST", "/flavors/2/action", {"addTenantAccess": {"tenant": "project-a"}}
        )  # fmt: skip
        specs = {"extra_specs": {"hw:cpu_policy": "shared"}}
        for number in (1, 2):
            self.asked(200, "POST", f"/flavors/{number}/os-extra_specs", specs)
        made = self.asked(
            200, "POST", "/os-aggregates", {"aggregate": {"name": "r", "availability_zone": "z1"}}
        )
        self.aggregate = made["aggregate"]["id"]
        path = f"/os-aggregates/{self.aggregate}/action"
        self.asked(200, "POST", path, {"add_host": {"host": "h1"}})
        key = {"name": "k", "public_key": PUBLIC_KEY}
        self.asked(201, "POST", "/os-keypairs", {"keypair": key}, token="ann:project-a")
        group = {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 2}}
        made = self.asked(
            200, "POST", "/os-server-groups", {"server_group": group}, token="ann:project-a"
        )
        self.group = made["server_group"]["id"]

    def stored(self) -> dict[str, set[str]]:
        """Return every row of every table of the API's and the cell's database."""
        found: dict[str, set[str]] = {}
        schemas = (("api", self.api_db, ApiBase), ("cell", self.cell_db, CellBase))
        for name, database, base in schemas:
            for table in base.metadata.sorted_tables:
                rows = database.query(lambda c, t=table: c.execute(sa.select(t)).all())
                found[f"{name}.{table.name}"] = {repr(row) for row in rows}
        return found

    def add_server(self, uuid: InstanceUuid, **changed: Any) -> None:
        """Write one of ``SERVERS``, or another like ``ACTIVE``, for project-a."""
        server = _server(uuid, **changed)
        spec = RequestSpec(
            project_id=server.project_id,
            user_id=server.user_id,
            flavor=server.flavor,
            image=server.image,
        )
        accepted = Accepted(instance=server, spec=spec, request_id=REQUEST)
        acceptance.accept(self.api_db, [Lot([accepted], Limits())])
        if uuid == WAITING:
            return
        now = utcnow()
        build_requests.take(self.api_db, [uuid], "c1", now)
        build_requests.settle(self.api_db, {uuid: CELL}, "c1")
        placed = servers.placed(uuid=uuid)
        instances.insert(self.cell_db, [placed.__class__(instance=server, action=placed.action)])
        events = (
            ActionEvent(name="schedule_instances", started_at=now, finished_at=now, result="Success"),
            ActionEvent(
                name="compute__do_build_and_run_instance",
                started_at=now,
                finished_at=now,
                result="Error",
                details="it broke",
                traceback="line 1",
                host="h1",
            ),
            ActionEvent(name="compute_stop_instance", started_at=now, host="h1"),
        )  # fmt: skip
        record = placed.action.__class__(
            action="stop",
            instance_uuid=uuid,
            request_id=REQUEST,
            user_id=server.user_id,
            project_id=server.project_id,
            started_at=now,
            events=events,
        )
        actions.record(self.cell_db, [record])

    def remap(self, uuid: InstanceUuid, cell: CellUuid) -> None:
        """Say that a server is in another cell, and take it from this one."""
        instances.remove(self.cell_db, [uuid])
        change = sa.update(_mappings).where(_mappings.c.instance_uuid == uuid)
        self.api_db.write(lambda connection: connection.execute(change.values(cell_uuid=cell)))


def _server(uuid: InstanceUuid, **changed: Any) -> Instance:
    if uuid == WAITING:
        return servers.instance(
            **{"uuid": uuid, "name": "waiting", "flavor": FLAVOR, "image": IMAGE} | changed
        )
    wishes = Wishes(
        user_data="aGVsbG8=",
        key_pair=KEY,
        hints={"k": "v", "many": ["a", "b"]},
        pinned_zone="z1",
        config_drive=True,
        reservation_id="r-12345678",
    )
    fields: dict[str, Any] = {
        "uuid": uuid,
        "name": f"vm-{uuid[-1]}",
        "flavor": FLAVOR,
        "image": None if uuid == FAILED else IMAGE,
        "wishes": wishes,
        "metadata": {"colour": "blue"},
        "tags": ("red",),
        "description": "a server",
        "vm_state": VmState.BUILDING if uuid == FAILED else VmState.ACTIVE,
        "task_state": None,
        "power_state": PowerState.RUNNING,
        "host": HostName("h1"),
        "node": NodeName("h1.example"),
        "availability_zone": "z1",
        "launched_at": utcnow(),
        "locked_reason": "maintenance",
        "root_device_name": "/dev/vda",
        "access_ipv4": "192.0.2.7",
        "nics": (CARD,),
        "volumes": () if uuid == FAILED else (DATA,),
    }
    return servers.instance(**fields | changed)


PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNUmwRvVDhrXBGrWFGGCGxGGSCO6MPQOFDxGKQp0fHy ann@example"
)
