"""Every payload, pinned by payloads.json: others read them by name, version and field."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import testtools

from kilonova.core.aggregate import HostAggregate
from kilonova.core.context import RequestContext
from kilonova.core.flavor import Flavor
from kilonova.core.host import Service
from kilonova.core.ids import (
    FlavorId,
    HostName,
    ImageId,
    InstanceUuid,
    NodeName,
    ProjectId,
    RequestId,
    UserId,
)
from kilonova.core.image import Image
from kilonova.core.instance import ActionEvent, Instance, KeyPair, Nic, Wishes
from kilonova.core.server_group import Policy, ServerGroup
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.rpc.notifications import faults, instances
from kilonova.rpc.notifications.aggregates import of_aggregate, wanted
from kilonova.rpc.notifications.flavors import of_flavor
from kilonova.rpc.notifications.key_pairs import of_key_pair
from kilonova.rpc.notifications.server_groups import of_group
from kilonova.rpc.notifications.services import by_service, of_service

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("payloads.json").read_text())

NOON = datetime(2026, 5, 2, 12, 0, 0, 123456)
LATER = NOON + timedelta(minutes=5)
IMAGE_ID = ImageId("66666666-6666-4666-8666-666666666666")
ASKER = RequestContext(
    request_id=RequestId("req-1"), user_id=UserId("ann"), project_id=ProjectId("project-a")
)
FLAVOR = Flavor(
    flavor_id=FlavorId("7"),
    name="wide",
    vcpus=4,
    memory_mb=2048,
    root_gb=20,
    ephemeral_gb=5,
    swap_mb=64,
    rxtx_factor=2.0,
    is_public=False,
    description="d",
    extra_specs={"hw:cpu_policy": "shared"},
)
KEY = KeyPair(name="k", kind="ssh", fingerprint="aa:bb", public_key="ssh-ed25519 AAAA ann")
SERVER = Instance(
    uuid=InstanceUuid("11111111-1111-4111-8111-111111111111"),
    name="web",
    hostname="web-1",
    description="d",
    project_id=ProjectId("project-b"),
    user_id=UserId("bob"),
    flavor=FLAVOR,
    image=Image(image_id=IMAGE_ID, properties={"hw_architecture": "x86_64", "os_type": "linux"}),
    wishes=Wishes(
        key_pair=KEY,
        reservation_id="r-1",
        trusted_certs=("c1",),
        user_data="c2VjcmV0",
        admin_pass="secret",
    ),
    created_at=NOON,
    updated_at=LATER,
    launched_at=LATER,
    metadata={"a": "b"},
    tags=("t",),
    vm_state=VmState.ACTIVE,
    task_state=TaskState.POWERING_OFF,
    power_state=PowerState.RUNNING,
    host=HostName("h1"),
    node=NodeName("h1.example"),
    availability_zone="z1",
    locked_by="owner",
    locked_reason="r",
    nics=(
        Nic(
            network="net",
            network_id="77777777-7777-4777-8777-777777777777",
            mac="fa:16:3e:00:00:01",
            address="10.0.0.5",
            prefix=24,
            gateway="10.0.0.1",
            dns="10.0.0.1",
        ),
    ),
)
TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/lib/python3/kilonova/compute/builder.py", line 12, in _make
    self._driver.spawn(instance)
  File "/usr/lib/python3/kilonova/compute/script.py", line 130, in happen
    raise BuildFailed(message)
kilonova.core.errors.BuildFailed: out of luck
"""
BROKEN = ActionEvent(
    name="compute__do_build_and_run_instance",
    started_at=NOON,
    finished_at=LATER,
    result="Error",
    details="out of luck",
    traceback=TRACEBACK,
)
FAULT = faults.of_event(BROKEN)
SERVICE = Service(
    uuid="88888888-8888-4888-8888-888888888888",
    binary="nova-compute",
    host=HostName("h1"),
    topic="compute",
    enabled=False,
    disabled_reason="r",
    forced_down=True,
    last_seen=NOON,
)
AGGREGATE = HostAggregate(
    number=3,
    uuid="99999999-9999-4999-8999-999999999999",
    name="rack",
    created_at=NOON,
    metadata={"availability_zone": "z1"},
    hosts=(HostName("h1"),),
)
GROUP = ServerGroup(
    uuid="aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    name="g",
    project_id=ProjectId("project-a"),
    user_id=UserId("ann"),
    policy=Policy.ANTI_AFFINITY,
    max_server_per_host=2,
    created_at=NOON,
    members=(SERVER.uuid,),
)
BEFORE = msgspec.structs.replace(SERVER, name="old", vm_state=VmState.BUILDING, task_state=None)
PAYLOADS = {
    "action": instances.of_action(SERVER, ASKER),
    "creation": instances.of_creation(SERVER, ASKER, FAULT),
    "rebuild": instances.of_rebuild(SERVER, ASKER),
    "rescue": instances.of_rescue(SERVER, ASKER, None, IMAGE_ID),
    "snapshot": instances.of_snapshot(SERVER, ASKER, None, IMAGE_ID),
    "update": instances.of_update(BEFORE, SERVER, ASKER, LATER),
    "flavor": of_flavor(FLAVOR, ["p"]),
    "service": of_service(SERVICE),
    "aggregate": of_aggregate(AGGREGATE),
    "aggregate wanted": wanted("rack", "z1"),
    "key pair": of_key_pair(KEY, UserId("ann")),
    "server group": of_group(GROUP),
    "fault": FAULT,
}


class PayloadsTest(testtools.TestCase):
    """The golden file against the code."""

    def test_every_payload_is_what_is_pinned(self) -> None:
        self.assertEqual(set(GOLDEN), set(PAYLOADS))
        for name, payload in PAYLOADS.items():
            self.assertEqual(GOLDEN[name], json.loads(json.dumps(payload)), name)

    def test_nothing_in_them_is_its_owners_alone(self) -> None:
        for payload in PAYLOADS.values():
            self.assertNotIn("secret", json.dumps(payload))
            self.assertNotIn("c2VjcmV0", json.dumps(payload))

    def test_a_service_that_acts_of_itself_is_nobody(self) -> None:
        nobody = RequestContext(request_id=RequestId("req-2"), roles=("service",))
        data = instances.of_action(SERVER, nobody)["nova_object.data"]
        asked = ("request_id", "action_initiator_user", "action_initiator_project")
        self.assertEqual([None] * 3, [data[name] for name in asked])

    def test_what_a_server_lacks_is_null(self) -> None:
        bare = msgspec.structs.replace(
            SERVER,
            image=None,
            wishes=Wishes(),
            host=None,
            node=None,
            launched_at=None,
            updated_at=None,
            task_state=None,
            power_state=PowerState.NOSTATE,
            locked_by=None,
            nics=(),
        )
        data = instances.of_creation(bare, ASKER)["nova_object.data"]
        for name in ("image_uuid", "architecture", "os_type", "key_name", "host", "node"):
            self.assertIsNone(data[name], name)
        for name in ("launched_at", "updated_at", "task_state", "trusted_image_certificates"):
            self.assertIsNone(data[name], name)
        self.assertEqual(("pending", False), (data["power_state"], data["locked"]))
        self.assertEqual(([], []), (data["keypairs"], data["ip_addresses"]))

    def test_only_a_server_that_is_gone_has_a_time_at_which_it_went(self) -> None:
        ended = msgspec.structs.replace(SERVER, terminated_at=LATER)
        gone = msgspec.structs.replace(ended, deleted=True)
        for server, moment in ((ended, None), (gone, "2026-05-02T12:05:00Z")):
            data = instances.of_action(server, ASKER)["nova_object.data"]
            self.assertEqual(moment, data["deleted_at"])

    def test_an_old_name_is_told_only_if_it_changed(self) -> None:
        data = instances.of_update(SERVER, SERVER, ASKER, LATER)["nova_object.data"]
        self.assertIsNone(data["old_display_name"])

    def test_a_service_speaks_in_its_own_name(self) -> None:
        self.assertEqual("nova-compute:h1", by_service(SERVICE))


class FaultsTest(testtools.TestCase):
    """What went wrong, and where."""

    def test_the_last_place_of_a_traceback_is_where(self) -> None:
        data = FAULT["nova_object.data"]
        self.assertEqual(
            ("script", "happen", "BuildFailed", "out of luck"),
            tuple(
                data[name]
                for name in ("module_name", "function_name", "exception", "exception_message")
            ),
        )

    def test_of_errors_behind_errors_the_last_is_told(self) -> None:
        first = (
            TRACEBACK + "\nThe above exception was the direct cause of the following exception:\n\n"
        )
        second = TRACEBACK.replace("BuildFailed: out of luck", "HypervisorUnavailable: Gone: away")
        event = msgspec.structs.replace(BROKEN, traceback=first + second)
        self.assertEqual(
            "HypervisorUnavailable", faults.of_event(event)["nova_object.data"]["exception"]
        )

    def test_without_a_traceback_there_is_the_sentence(self) -> None:
        event = msgspec.structs.replace(BROKEN, traceback=None)
        for payload in (faults.of_event(event), faults.of_sentence("out of luck")):
            data = payload["nova_object.data"]
            self.assertEqual(("", "out of luck"), (data["module_name"], data["exception_message"]))
            self.assertIsNone(data["traceback"])
