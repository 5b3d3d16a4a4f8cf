"""What follows from a decision, and what a person reads when a build fails."""

from datetime import datetime, timedelta

import msgspec
import testtools

from kilonova.conductor import plan
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    CELL0,
    CellUuid,
    FlavorId,
    HostName,
    InstanceUuid,
    NodeName,
    ProjectId,
    ProviderUuid,
    RequestId,
    UserId,
)
from kilonova.core.instance import ActionEvent, Instance, Wishes
from kilonova.core.report import BuildFailure
from kilonova.core.scheduling import Decision, Destination, NoHost, Reason, RequestSpec
from kilonova.core.states import Action, TaskState, VmState
from kilonova.db.build_requests import Pending

ACCEPTED = datetime(2026, 5, 1, 12, 0, 0)
BEGAN = ACCEPTED + timedelta(seconds=1)
NOW = ACCEPTED + timedelta(seconds=3)
UUID = InstanceUuid("11111111-1111-4111-8111-111111111111")
CELL = CellUuid("22222222-2222-4222-8222-222222222222")
FLAVOR = Flavor(flavor_id=FlavorId("1"), name="f", vcpus=1, memory_mb=512, root_gb=1)
INSTANCE = Instance(
    uuid=UUID,
    name="vm",
    hostname="vm",
    project_id=ProjectId("p"),
    user_id=UserId("u"),
    flavor=FLAVOR,
    image=None,
    wishes=Wishes(),
    created_at=ACCEPTED,
)
PENDING = Pending(
    instance=INSTANCE,
    spec=RequestSpec(project_id=ProjectId("p"), user_id=UserId("u"), flavor=FLAVOR, image=None),
    request_id=RequestId("req-1"),
    epoch=3,
    driver="one",
    redriven=False,
)
CHOSEN = Destination(
    host=HostName("h1"),
    node=NodeName("h1.example"),
    cell_uuid=CELL,
    provider_uuid=ProviderUuid("p1"),
    availability_zone="z1",
    allocation={"p1": {"VCPU": 1}},
)
REASONS = (
    Reason(
        refused_by="MEMORY_MB",
        sentence="lack MEMORY_MB",
        hosts=9,
        nearest_miss="needs 512, the best has 256 free",
    ),
    Reason(refused_by="ComputeFilter", sentence="disabled", hosts=2),
)
NO_HOST = NoHost(considered=11, reasons=REASONS)


class PlaceTest(testtools.TestCase):
    """From a decision to what is written."""

    def test_a_placed_server_is_on_its_host_under_the_epoch_of_who_placed_it(self) -> None:
        other = msgspec.structs.replace(CHOSEN, host=HostName("h2"))
        decision = Decision(instance_uuid=UUID, destination=CHOSEN, alternates=(other,))
        placed = plan.place(PENDING, decision, BEGAN, NOW)
        expected = msgspec.structs.replace(
            INSTANCE,
            host=HostName("h1"),
            node=NodeName("h1.example"),
            availability_zone="z1",
            vm_state=VmState.BUILDING,
            task_state=TaskState.SCHEDULING,
            epoch=3,
            updated_at=NOW,
        )
        self.assertEqual(expected, placed.instance)
        self.assertEqual((CHOSEN, other), placed.destinations)
        self.assertIsNone(placed.fault)

    def test_a_failed_build_goes_to_the_others_and_an_interrupted_one_stays_if_it_must(
        self,
    ) -> None:
        here, there = CHOSEN, msgspec.structs.replace(CHOSEN, host=HostName("h2"))
        failed = BuildFailure(reason="no luck")
        interrupted = msgspec.structs.replace(failed, interrupted=True)
        hopeless = msgspec.structs.replace(failed, retry=False)
        for failure, epoch, expected in (
            (failed, 1, (there,)),
            (interrupted, 1, (there, here)),
            (interrupted, 10, (there,)),
            (hopeless, 1, ()),
        ):
            self.assertEqual(expected, plan.next_hosts((here, there), failure, epoch))
        self.assertEqual((), plan.next_hosts((), interrupted, 1))

    def test_its_creation_is_on_record_with_how_long_the_scheduling_took(self) -> None:
        placed = plan.place(PENDING, Decision(instance_uuid=UUID, destination=CHOSEN), BEGAN, NOW)
        action = placed.action
        self.assertEqual(
            (Action.CREATE, UUID, "req-1", "u", "p", None),
            (
                action.action,
                action.instance_uuid,
                action.request_id,
                action.user_id,
                action.project_id,
                action.message,
            ),
        )
        # It began when it was asked for, not when it was scheduled.
        self.assertEqual((ACCEPTED, NOW), (action.started_at, action.updated_at))
        scheduled = ActionEvent(
            name="schedule_instances", started_at=BEGAN, finished_at=NOW, result="Success"
        )
        self.assertEqual((scheduled,), action.events)

    def test_a_server_that_no_host_fits_is_in_error_with_the_counted_sentence(self) -> None:
        placed = plan.place(PENDING, Decision(instance_uuid=UUID, no_host=NO_HOST), BEGAN, NOW)
        instance, fault = placed.instance, placed.fault
        self.assertEqual(
            (VmState.ERROR, None, None, None, 0),
            (
                instance.vm_state,
                instance.task_state,
                instance.host,
                instance.availability_zone,
                instance.epoch,
            ),
        )
        assert fault is not None
        sentence = "No valid host was found. 0 of 11 hosts fit: 9 lack MEMORY_MB, 2 disabled."
        self.assertEqual((500, sentence, NOW), (fault.code, fault.message, fault.created_at))
        (event,) = placed.action.events
        self.assertEqual(("Error", sentence), (event.result, event.details))
        self.assertEqual("Error", placed.action.message)

    def test_a_server_that_is_given_up_is_in_error_with_its_fault(self) -> None:
        fault = plan.timed_out(600, NOW)
        refused = plan.refuse(PENDING, fault, BEGAN)
        self.assertEqual(
            (VmState.ERROR, None, NOW),
            (refused.instance.vm_state, refused.instance.task_state, refused.instance.updated_at),
        )
        self.assertEqual(fault, refused.fault)
        (event,) = refused.action.events
        self.assertEqual(
            (BEGAN, NOW, "Error", fault.message),
            (event.started_at, event.finished_at, event.result, event.details),
        )
        self.assertEqual("Error", refused.action.message)

    def test_a_request_is_late_when_it_is_older_than_a_build_may_take(self) -> None:
        for age, seconds, late in (
            (599, 600, False),
            (600, 600, False),
            (601, 600, True),
            (9999, 0, False),
        ):
            now = PENDING.instance.created_at + timedelta(seconds=age)
            self.assertEqual(late, plan.is_late(PENDING, seconds, now), (age, seconds))

    def test_a_decided_server_goes_into_the_cell_of_its_host_or_into_cell0(self) -> None:
        self.assertEqual(CELL, plan.cell_of(Decision(instance_uuid=UUID, destination=CHOSEN)))
        self.assertEqual(CELL0, plan.cell_of(Decision(instance_uuid=UUID, no_host=NO_HOST)))
        self.assertEqual(CELL0, plan.cell_of(Decision(instance_uuid=UUID)))

    def test_what_is_pending_stays_as_it_was(self) -> None:
        before = msgspec.json.encode(PENDING)
        plan.place(PENDING, Decision(instance_uuid=UUID, destination=CHOSEN), BEGAN, NOW)
        self.assertEqual(before, msgspec.json.encode(PENDING))

    def test_a_server_that_moves_on_keeps_all_but_its_place_and_epoch(self) -> None:
        built = msgspec.structs.replace(INSTANCE, metadata={"a": "b"}, host=HostName("h0"))
        moved = plan.at(built, CHOSEN, 7, NOW)
        self.assertEqual(
            ("h1", "h1.example", "z1", 7, {"a": "b"}),
            (moved.host, moved.node, moved.availability_zone, moved.epoch, moved.metadata),
        )


class FaultsTest(testtools.TestCase):
    """What a person reads."""

    def test_the_misses_are_for_operators_and_stand_in_the_details_only(self) -> None:
        fault = plan.no_valid_host(NO_HOST, NOW)
        self.assertEqual(
            "9 x MEMORY_MB: lack MEMORY_MB (needs 512, the best has 256 free)\n"
            "2 x ComputeFilter: disabled",
            fault.details,
        )
        self.assertNotIn("256", fault.message)

    def test_a_decision_without_reasons_is_told_as_having_no_hosts(self) -> None:
        fault = plan.no_valid_host(None, NOW)
        self.assertEqual("No valid host was found. 0 of 0 hosts fit.", fault.message)
        self.assertEqual("", fault.details)

    def test_a_build_that_failed_everywhere_says_what_the_last_host_said(self) -> None:
        failure = BuildFailure(reason="out of luck", details="h1: BuildFailed: out of luck")
        fault = plan.gave_up(failure, NOW)
        self.assertEqual(
            "The server could not be built. No host is left to try; the last one said: out of luck",
            fault.message,
        )
        self.assertEqual(("h1: BuildFailed: out of luck", NOW), (fault.details, fault.created_at))

    def test_a_build_that_is_tried_nowhere_else_says_so(self) -> None:
        fault = plan.gave_up(BuildFailure(reason="the image is broken", retry=False), NOW)
        self.assertIn("No other host is tried", fault.message)
        self.assertIn("the image is broken", fault.message)

    def test_a_build_that_took_too_long_says_how_long_it_had(self) -> None:
        for seconds, shown in ((600, "600"), (1.5, "1.5")):
            fault = plan.timed_out(seconds, NOW)
            self.assertEqual((500, NOW), (fault.code, fault.created_at))
            self.assertIn(f"within {shown} seconds", fault.message)
