"""What follows from a decision, and what a person reads when a build fails."""

from datetime import datetime, timedelta

import msgspec
import testtools

from kilonova.conductor import plan
from kilonova.core.decision_record import Decided, DecisionRecord, Stage
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
from kilonova.rpc.messages import Destinations

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


def host_named(name: str) -> Destination:
    """Return a host to go to."""
    return msgspec.structs.replace(CHOSEN, host=HostName(name))


def failed(host: str, why: str, second: int) -> ActionEvent:
    """Return the event of a build that failed."""
    return ActionEvent(
        name="compute__do_build_and_run_instance",
        started_at=BEGAN + timedelta(seconds=second),
        result="Error",
        details=why,
        host=host,
    )


REASONS = (
    Reason(
        refused_by="MEMORY_MB",
        sentence="lack MEMORY_MB",
        hosts=9,
        nearest_miss="needs 512, the best has 256 free",
    ),
    Reason(refused_by="ComputeFilter", sentence="are disabled", hosts=2),
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
        accepted = ActionEvent(
            name="api_accept_request", started_at=ACCEPTED, finished_at=BEGAN, result="Success"
        )
        self.assertEqual((accepted, scheduled), action.events)

    def test_the_claim_has_its_own_event_where_the_scheduler_told_when_it_was(self) -> None:
        decision = Decision(instance_uuid=UUID, destination=CHOSEN)
        stage = Stage(name="claim", began_at=BEGAN + timedelta(seconds=1), seconds=0.5)
        events = plan.place(PENDING, decision, BEGAN, NOW, stage).action.events
        claimed = ActionEvent(
            name="scheduler_claim_resources",
            started_at=ACCEPTED + timedelta(seconds=2),
            finished_at=ACCEPTED + timedelta(seconds=2.5),
            result="Success",
        )
        self.assertEqual(claimed, events[-1])

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
        sentence = "No valid host was found. 0 of 11 hosts fit: 9 lack MEMORY_MB, 2 are disabled."
        self.assertEqual((500, sentence, NOW), (fault.code, fault.message, fault.created_at))
        (_, event) = placed.action.events
        self.assertEqual(("Error", sentence), (event.result, event.details))
        self.assertEqual(sentence, placed.action.message)

    def test_a_server_that_is_given_up_is_in_error_with_its_fault(self) -> None:
        fault = plan.timed_out(600, NOW)
        refused = plan.refuse(PENDING, fault, BEGAN)
        self.assertEqual(
            (VmState.ERROR, None, NOW),
            (refused.instance.vm_state, refused.instance.task_state, refused.instance.updated_at),
        )
        self.assertEqual(fault, refused.fault)
        (_, event) = refused.action.events
        self.assertEqual(
            (BEGAN, NOW, "Error", fault.message),
            (event.started_at, event.finished_at, event.result, event.details),
        )
        self.assertEqual(fault.message, refused.action.message)

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

    def test_what_is_kept_of_a_pass_names_each_server_with_its_request_and_host(self) -> None:
        other = InstanceUuid("33333333-3333-4333-8333-333333333333")
        theirs = msgspec.structs.replace(PENDING, request_id=RequestId("req-2"))
        record = DecisionRecord(servers=2, placed=1, considered=1, passed=1)
        decisions = (
            Decision(instance_uuid=UUID, destination=CHOSEN),
            Decision(instance_uuid=other, no_host=NO_HOST),
        )
        pending = {UUID: PENDING, other: theirs}
        outcome = plan.outcome(pending, Destinations(decisions=decisions, record=record), NOW)
        assert outcome is not None
        self.assertEqual((record, NOW), (outcome.record, outcome.decided_at))
        self.assertEqual(
            (
                Decided(instance_uuid=UUID, request_id=RequestId("req-1"), host=HostName("h1")),
                Decided(instance_uuid=other, request_id=RequestId("req-2")),
            ),
            outcome.servers,
        )

    def test_a_scheduler_that_tells_nothing_leaves_nothing_to_keep(self) -> None:
        self.assertIsNone(plan.outcome({}, Destinations(decisions=()), NOW))

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
            "2 x ComputeFilter: are disabled",
            fault.details,
        )
        self.assertNotIn("256", fault.message)

    def test_a_decision_without_reasons_is_told_as_having_no_hosts(self) -> None:
        fault = plan.no_valid_host(None, NOW)
        self.assertEqual(
            "No valid host was found. 0 of 0 hosts fit: there is no host yet.", fault.message
        )
        self.assertEqual("", fault.details)

    def test_a_build_that_failed_on_the_only_host_says_what_that_said(self) -> None:
        failure = BuildFailure(reason="out of luck", details="h1: BuildFailed: out of luck")
        fault = plan.gave_up(failure, [failed("h1", "out of luck", 1)], NOW)
        self.assertEqual(
            "The server could not be built. No host is left to try; the last one said: out of luck",
            fault.message,
        )
        self.assertEqual(("h1: BuildFailed: out of luck", NOW), (fault.details, fault.created_at))

    def test_what_every_host_said_is_counted_for_all_and_told_by_host_to_operators(self) -> None:
        full = plan.claimed(host_named("h4"), BEGAN, NOW, "no room for 512 MB")
        fits = plan.claimed(host_named("h2"), BEGAN, NOW, None)
        spawn = ActionEvent(name="compute_spawn", started_at=BEGAN, result="Error", host="h1")
        events = [failed("h3", "disk full", 3), full, failed("h2", "out of luck", 2), fits, spawn]
        events.append(failed("h1", "out of luck", 1))
        failure = BuildFailure(reason="disk full", details="h3: BuildFailed: disk full (OSError)")
        fault = plan.gave_up(failure, events, NOW)
        self.assertEqual(
            "The server could not be built on any of 4 hosts: "
            "2 said: out of luck; 1 said: disk full; 1 had no room left",
            fault.message,
        )
        self.assertEqual(
            [
                "h3: BuildFailed: disk full (OSError)",
                "h1: out of luck",
                "h2: out of luck",
                "h4: no room for 512 MB",
            ],
            fault.details.splitlines(),
        )

    def test_a_build_that_is_tried_nowhere_else_says_so(self) -> None:
        failure = BuildFailure(reason="the image is broken", retry=False)
        fault = plan.gave_up(failure, [failed("h1", "the image is broken", 1)], NOW)
        self.assertIn("No other host is tried", fault.message)
        self.assertIn("the image is broken", fault.message)

    def test_a_claim_on_an_alternate_is_an_event_of_that_host(self) -> None:
        for refused, result in ((None, "Success"), ("full", "Error")):
            event = plan.claimed(CHOSEN, BEGAN, NOW, refused)
            self.assertEqual(
                ("conductor_claim_alternate", "h1", BEGAN, NOW, result, refused),
                (
                    event.name,
                    event.host,
                    event.started_at,
                    event.finished_at,
                    event.result,
                    event.details,
                ),
            )

    def test_a_build_that_took_too_long_says_how_long_it_had(self) -> None:
        for seconds, shown in ((600, "600"), (1.5, "1.5")):
            fault = plan.timed_out(seconds, NOW)
            self.assertEqual((500, NOW), (fault.code, fault.created_at))
            self.assertIn(f"within {shown} seconds", fault.message)
