"""What follows from what hosts say of their parts of a move: every stage, every kind, every end."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import msgspec
import testtools

from kilonova.conductor import move_plan
from kilonova.core import migration as mig
from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
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
from kilonova.core.instance import Fault, Instance
from kilonova.core.migration import ACTS, Kind, Migration, Moved, MoveReport, Stage
from kilonova.core.scheduling import Destination
from kilonova.core.states import PowerState, TaskState, VmState
from tests.instances import instance

NOW = datetime(2026, 5, 1, 12)
SMALL = Flavor(flavor_id=FlavorId("1"), name="small", vcpus=1, memory_mb=512, root_gb=1)
LARGE = Flavor(flavor_id=FlavorId("2"), name="large", vcpus=2, memory_mb=1024, root_gb=2)
COLD = (Kind.RESIZE, Kind.MIGRATION)
SENT = (*COLD, Kind.LIVE)


def to(host: str) -> Destination:
    """Return a host as a destination."""
    return Destination(
        host=HostName(host),
        node=NodeName(host),
        cell_uuid=CellUuid("cell"),
        provider_uuid=ProviderUuid(host),
        availability_zone=f"zone of {host}",
        allocation={host: {"VCPU": 2}},
    )


def move(kind: Kind, stage: Stage, **changed: Any) -> Migration:
    """Return a move from h1 to h2 at a stage."""
    fields: dict[str, Any] = {
        "uuid": "m",
        "instance_uuid": InstanceUuid("i"),
        "kind": kind,
        "source_host": HostName("h1"),
        "source_node": NodeName("h1"),
        "source_zone": "zone of h1",
        "old_flavor": SMALL,
        "new_flavor": LARGE if kind is Kind.RESIZE else SMALL,
        "vm_state": VmState.ACTIVE,
        "epoch": 3,
        "guest_epoch": 2,
        "request_id": RequestId("req-1"),
        "user_id": UserId("u"),
        "project_id": ProjectId("p"),
        "created_at": NOW,
        "updated_at": NOW,
        "destination": to("h2"),
        "attempt": 1,
        "source_allocation": {"h1": {"VCPU": 1}},
    }
    return mig.at(Migration(**fields | changed), stage, NOW)


def server(**changed: Any) -> Instance:
    """Return a server at h1, of whose guest builds from 2 on count."""
    fields: dict[str, Any] = {
        "vm_state": VmState.ACTIVE,
        "task_state": TaskState.RESIZE_PREP,
        "power_state": PowerState.RUNNING,
        "host": HostName("h1"),
        "node": NodeName("h1"),
        "availability_zone": "zone of h1",
        "flavor": SMALL,
        "epoch": 3,
        "begun_epoch": 2,
    }
    return instance(**fields | changed)


def arrived_server(**changed: Any) -> Instance:
    """Return the server at h2, after it left h1."""
    there = {"host": HostName("h2"), "node": NodeName("h2"), "epoch": 4, "begun_epoch": 4}
    return server(**there | changed)


RUNS = move_plan.Arrived(power=PowerState.RUNNING)
IS_OFF = move_plan.Arrived(power=PowerState.SHUTDOWN)


def said(migration: Migration, moved: Moved = Moved.FAILED) -> MoveReport:
    """Return what a host says of its part that it could not do."""
    return MoveReport(
        migration=migration.uuid,
        stage=migration.stage,
        attempt=migration.attempt,
        moved=moved,
        reason="no luck",
        details="at h2",
    )


class ForwardTest(testtools.TestCase):
    """Everything goes well."""

    def test_a_choice_is_told_by_its_kind_with_why_there_was_none(self) -> None:
        why = Fault(code=500, message="No valid host was found.", created_at=NOW)
        later = NOW + timedelta(seconds=2)
        for kind, names in (
            (Kind.RESIZE, ["conductor_migrate_server", "cold_migrate"]),
            (Kind.LIVE, ["conductor_live_migrate_instance"]),
            (Kind.EVACUATION, ["rebuild_server"]),
            (Kind.UNSHELVE, ["schedule_instances"]),
            (Kind.SHELVE, []),
        ):
            for fault, result in ((None, "Success"), (why, "Error")):
                told = move_plan.choice(move(kind, Stage.ACCEPTED), NOW, later, fault)
                self.assertEqual(names, [event.name for event in told])
                for event in told:
                    self.assertEqual((NOW, later), (event.started_at, event.finished_at))
                    said = fault.message if fault else None
                    self.assertEqual((result, said), (event.result, event.details))

    def test_a_destination_is_told_to_prepare_or_to_build_at_once(self) -> None:
        for kind in (*SENT, Kind.EVACUATION, Kind.UNSHELVE):
            accepted = move(kind, Stage.ACCEPTED, destination=None, attempt=0)
            found = move_plan.begin(accepted, server(), (to("h3"), (to("h4"),)), NOW)
            builds = kind in (Kind.EVACUATION, Kind.UNSHELVE)
            expected = Stage.FINISHING if builds else Stage.PREPARING
            self.assertEqual(
                (expected, "h3", 1, (to("h4"),)),
                (
                    found.migration.stage,
                    found.migration.acting(),
                    found.migration.attempt,
                    found.migration.alternates,
                ),
            )
            assert found.instance is not None
            self.assertEqual("h3" if builds else "h1", found.instance.host)

    def test_a_server_is_at_its_destination_under_the_next_epoch_before_its_guest_is_made(
        self,
    ) -> None:
        for kind in SENT:
            sending = move(kind, Stage.SENDING)
            found = move_plan.done(sending, server(), RUNS, NOW)
            assert found.instance is not None
            self.assertEqual(
                (Stage.FINISHING, "h2", "zone of h2", 4, 4, sending.new_flavor),
                (
                    found.migration.stage,
                    found.instance.host,
                    found.instance.availability_zone,
                    found.instance.epoch,
                    found.instance.begun_epoch,
                    found.instance.flavor,
                ),
            )

    def test_a_cold_move_waits_for_its_owner_and_others_do_not(self) -> None:
        for kind, report in itertools.product((*SENT, Kind.EVACUATION), (RUNS, IS_OFF)):
            finishing = move(kind, Stage.FINISHING)
            found = move_plan.done(finishing, arrived_server(), report, NOW)
            assert found.instance is not None
            waits = kind in COLD
            self.assertEqual(
                Stage.FINISHED if waits else Stage.CLEARING, found.migration.stage, kind
            )
            self.assertEqual(
                (True, None, report.power),
                (found.over, found.instance.task_state, found.instance.power_state),
            )
            state = VmState.RESIZED if waits else VmState.ACTIVE
            if kind is Kind.EVACUATION and report is IS_OFF:
                state = VmState.STOPPED
            self.assertEqual(state, found.instance.vm_state, kind)

    def test_a_source_that_has_removed_its_own_ends_the_move(self) -> None:
        for kind, status in (
            (Kind.RESIZE, "confirmed"),
            (Kind.MIGRATION, "confirmed"),
            (Kind.LIVE, "completed"),
            (Kind.EVACUATION, "completed"),
        ):
            found = move_plan.done(move(kind, Stage.CLEARING), arrived_server(), RUNS, NOW)
            self.assertEqual(
                (Stage.ENDED, status, None),
                (found.migration.stage, found.migration.status, found.instance),
            )

    def test_a_server_that_is_shelved_has_no_host_and_one_that_is_back_no_image(self) -> None:
        clearing = move(Kind.SHELVE, Stage.CLEARING, destination=None)
        found = move_plan.done(clearing, server(), RUNS, NOW)
        assert found.instance is not None
        self.assertEqual(
            (VmState.SHELVED_OFFLOADED, None, None, None, 4),
            (
                found.instance.vm_state,
                found.instance.host,
                found.instance.node,
                found.instance.task_state,
                found.instance.epoch,
            ),
        )
        back = move_plan.done(
            move(Kind.UNSHELVE, Stage.FINISHING, source_host=""), arrived_server(), RUNS, NOW
        )
        assert back.instance is not None
        self.assertEqual(
            (Stage.ENDED, "completed", VmState.ACTIVE, None),
            (
                back.migration.stage,
                back.migration.status,
                back.instance.vm_state,
                back.instance.shelved_image,
            ),
        )


class BackTest(testtools.TestCase):
    """Something goes wrong, or is not wanted any more."""

    def test_what_was_not_sent_yet_needs_no_undoing(self) -> None:
        for kind in SENT:
            preparing = move(kind, Stage.PREPARING)
            found = move_plan.failed(preparing, server(), said(preparing), NOW)
            assert found.instance is not None
            self.assertEqual(
                (Stage.RESTORING, "h1", 3),
                (found.migration.stage, found.instance.host, found.instance.epoch),
            )

    def test_the_destination_is_emptied_before_the_source_has_its_guest_again(self) -> None:
        for kind, stage in itertools.product(COLD, (Stage.SENDING, Stage.FINISHING)):
            failing = move(kind, stage)
            at = server() if stage is Stage.SENDING else arrived_server()
            found = move_plan.failed(failing, at, said(failing), NOW)
            self.assertEqual(
                (Stage.UNDOING, "h2", None),
                (found.migration.stage, found.migration.acting(), found.instance),
            )
            back = move_plan.done(found.migration, at, RUNS, NOW)
            assert back.instance is not None
            self.assertEqual((Stage.RESTORING, "h1"), (back.migration.stage, back.instance.host))
            epochs = (3, 2) if stage is Stage.SENDING else (5, 2)
            self.assertEqual(epochs, (back.instance.epoch, back.instance.begun_epoch))
            self.assertEqual(SMALL, back.instance.flavor)

    def test_a_server_that_is_back_is_what_it_was_and_says_why_unless_that_was_wanted(
        self,
    ) -> None:
        for outcome, (was, arrived) in itertools.product(
            (mig.REVERTED, mig.FAILED, mig.CANCELLED),
            ((VmState.ACTIVE, RUNS), (VmState.STOPPED, IS_OFF)),
        ):
            restoring = move(Kind.RESIZE, Stage.RESTORING, outcome=outcome, vm_state=was)
            found = move_plan.done(restoring, server(vm_state=VmState.RESIZED), arrived, NOW)
            assert found.instance is not None
            self.assertEqual(
                (Stage.ENDED, outcome, was, None),
                (
                    found.migration.stage,
                    found.migration.status,
                    found.instance.vm_state,
                    found.instance.task_state,
                ),
            )
            wanted = outcome == mig.REVERTED
            self.assertEqual((wanted, wanted), (found.fault is None, found.failed is None))

    def test_a_server_that_is_back_is_off_if_its_guest_ended_by_itself_meanwhile(self) -> None:
        restoring = move(Kind.LIVE, Stage.RESTORING, outcome=mig.FAILED, vm_state=VmState.ACTIVE)
        found = move_plan.done(restoring, server(), IS_OFF, NOW)
        assert found.instance is not None
        self.assertEqual(VmState.STOPPED, found.instance.vm_state)

    def test_a_guest_that_nobody_brings_up_leaves_its_server_in_error(self) -> None:
        for kind, stage in ((Kind.RESIZE, Stage.RESTORING), (Kind.LIVE, Stage.FINISHING)):
            failing = move(kind, stage)
            found = move_plan.failed(failing, server(), said(failing), NOW)
            assert found.instance is not None
            assert found.fault is not None
            self.assertEqual(VmState.ERROR, found.instance.vm_state)
            self.assertIn("no luck", found.fault.message)
            self.assertEqual("at h2", found.fault.details)

    def test_an_evacuation_that_fails_leaves_the_guest_of_the_dead_host_the_one_that_counts(
        self,
    ) -> None:
        failing = move(Kind.EVACUATION, Stage.FINISHING)
        found = move_plan.failed(failing, arrived_server(), said(failing), NOW)
        assert found.instance is not None
        self.assertEqual(
            (Stage.ENDED, "error", "h1", 5, 2, VmState.ACTIVE),
            (
                found.migration.stage,
                found.migration.status,
                found.instance.host,
                found.instance.epoch,
                found.instance.begun_epoch,
                found.instance.vm_state,
            ),
        )

    def test_an_unshelving_that_fails_leaves_the_server_without_a_host(self) -> None:
        failing = move(
            Kind.UNSHELVE, Stage.FINISHING, source_host="", vm_state=VmState.SHELVED_OFFLOADED
        )
        found = move_plan.failed(failing, arrived_server(), said(failing), NOW)
        assert found.instance is not None
        self.assertEqual(
            (Stage.ENDED, None, VmState.SHELVED_OFFLOADED),
            (found.migration.stage, found.instance.host, found.instance.vm_state),
        )

    def test_one_that_is_aborted_while_it_is_prepared_is_undone_and_not_tried_elsewhere(
        self,
    ) -> None:
        preparing = move(Kind.LIVE, Stage.PREPARING, wish="abort")
        found = move_plan.done(preparing, server(), RUNS, NOW)
        self.assertEqual(
            (Stage.UNDOING, mig.CANCELLED), (found.migration.stage, found.migration.outcome)
        )

    def test_the_stage_after_a_failure_is_the_one_that_is_told_beforehand(self) -> None:
        """Claims are changed by it before the stage is."""
        for kind, stage in itertools.product(SENT, ACTS):
            failing = move(kind, stage)
            told = move_plan.failed_stage(failing)
            if told is not stage:
                found = move_plan.failed(failing, server(), said(failing), NOW)
                self.assertEqual(told, found.migration.stage, (kind, stage))


class DeletedTest(testtools.TestCase):
    """The server is deleted, and one host has removed what it had."""

    def test_the_other_host_has_to_remove_what_it_has(self) -> None:
        for kind, stage in itertools.product(SENT, (Stage.PREPARING, Stage.SENDING)):
            left = move_plan.without_server(move(kind, stage), "h1", NOW)
            self.assertEqual((Stage.ABANDONING, "h2"), (left.stage, left.acting()))
        for kind, stage in itertools.product(SENT, (Stage.FINISHING, Stage.UNDOING)):
            left = move_plan.without_server(move(kind, stage), "h2", NOW)
            self.assertEqual((Stage.CLEARING, "h1"), (left.stage, left.acting()))

    def test_nothing_is_left_where_there_was_one_host(self) -> None:
        for left in (
            move(Kind.RESIZE, Stage.ACCEPTED, destination=None),
            move(Kind.RESIZE, Stage.SENDING, destination=to("h1")),
            move(Kind.SHELVE, Stage.SENDING, destination=None),
            move(Kind.SHELVE, Stage.CLEARING, destination=None),
            move(Kind.UNSHELVE, Stage.FINISHING, source_host=""),
        ):
            self.assertEqual(Stage.ENDED, move_plan.without_server(left, "h1", NOW).stage)

    def test_what_is_removed_already_goes_on_as_it_is(self) -> None:
        for stage in (Stage.CLEARING, Stage.ABANDONING):
            going = move(Kind.RESIZE, stage)
            self.assertIs(going, move_plan.without_server(going, "h2", NOW))

    def test_a_finished_move_counts_as_confirmed(self) -> None:
        left = move_plan.without_server(move(Kind.RESIZE, Stage.FINISHED), "h2", NOW)
        ended = mig.ended(left, NOW)
        self.assertEqual("confirmed", ended.status)
        again = msgspec.structs.replace(left, kind=Kind.MIGRATION)
        self.assertEqual("confirmed", mig.ended(again, NOW).status)
