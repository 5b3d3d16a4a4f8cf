"""Bugs put in by hand, each of which some storm must notice. Each breaks one promise in one place."""

import contextlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, cast

import sqlalchemy as sa
import testtools

from kilonova.api.acceptance import Acceptance
from kilonova.compute.adoption import Adoption
from kilonova.compute.builder import Builder
from kilonova.compute.handlers import ComputeHandlers
from kilonova.conductor.rebuild import Rebuild
from kilonova.conductor.repairs import OF_CELL, OF_CELL0, OF_DEPLOYMENT
from kilonova.core.errors import KilonovaError, PlacementUnavailable
from kilonova.core.ids import InstanceUuid
from kilonova.core.quota import Limits
from kilonova.db import acceptance, desired, placement_claims, reports
from kilonova.db.acceptance import Lot
from kilonova.db.desired import Filling
from kilonova.db.engine import Database
from kilonova.placement.client import Placement

Bug = Callable[[testtools.TestCase], None]


def a_build_request_that_nobody_took_up_is_forgotten(case: testtools.TestCase) -> None:
    """A lost ``BuildServers`` is a lost server."""
    _leave_out(case, OF_DEPLOYMENT, "drive")


def a_build_that_no_host_began_is_not_sent_again(case: testtools.TestCase) -> None:
    """A lost ``BuildInstance`` is a server that waits for its deadline."""
    _leave_out(case, OF_CELL, "build")


def a_delete_that_stopped_half_way_is_not_finished(case: testtools.TestCase) -> None:
    """A lost ``DeleteInstance`` is a server that is being deleted for ever."""
    for repairs in (OF_CELL, OF_CELL0):
        _leave_out(case, repairs, "delete")


def a_build_begins_although_another_did(case: testtools.TestCase) -> None:
    """The epoch is compared, and not set: a message that comes twice builds twice."""
    case.patch(reports, "_BEGIN", reports._STAYS)


def a_host_builds_although_the_cell_refused(case: testtools.TestCase) -> None:
    """What the cell says to a build that begins is not heard."""
    begins = Builder._begins

    def always(builder: Builder, *arguments: Any) -> bool:
        begins(builder, *arguments)
        return True

    case.patch(Builder, "_begins", always)


def a_report_counts_in_whatever_order_it_comes(case: testtools.TestCase) -> None:
    """Reports are not compared by their numbers, and no host looks again at what the cell made of them."""
    case.patch(Adoption, "look_again", lambda *_found: {})
    unordered = reports._STAYS.where(sa.bindparam("b_number") > 0)
    case.patch(reports, "_CHANGE", unordered)
    case.patch(reports, "_NUMBERED", (unordered, reports._CHANGE_IDLE))


def claims_are_not_fenced(case: testtools.TestCase) -> None:
    """Whoever claims last for a server has it, however long it stood still."""
    case.patch(placement_claims, "_check_fence", lambda *_compared: None)


def a_deleted_server_keeps_its_claim(case: testtools.TestCase) -> None:
    """A server is marked deleted although Placement did not hear of it."""
    free = Placement.free

    def careless(placement: Placement, consumers: Any) -> None:
        with contextlib.suppress(PlacementUnavailable):
            free(placement, consumers)

    case.patch(Placement, "free", careless)
    _leave_out(case, OF_CELL, "allocation")


def a_guest_that_could_not_be_removed_is_told_gone(case: testtools.TestCase) -> None:
    """A host reports the end of a delete that failed, and does not look again."""
    report = ComputeHandlers._report

    def hopeful(handlers: ComputeHandlers, context: Any, *what: Any, **how: Any) -> None:
        stages = what[1]
        deleting = bool(stages.events) and stages.events[-1].name == "compute_terminate_instance"
        report(handlers, context, *what, **(how | {"gone": deleting}))

    case.patch(ComputeHandlers, "_report", hopeful)
    case.patch(Adoption, "look_again", lambda *_found: {})


def a_host_that_starts_does_not_look_at_its_guests(case: testtools.TestCase) -> None:
    """Whatever was under way when its service was killed stays as it was."""
    case.patch(Adoption, "adopt", lambda *_found: None)
    case.patch(Adoption, "look_again", lambda *_found: {})


def a_build_moves_before_its_epoch_is_ended(case: testtools.TestCase) -> None:
    """The next host begins under the epoch of the one before."""
    case.patch(Rebuild, "end", lambda _self, instance, **_how: instance)


def a_request_is_sent_before_it_is_stored(case: testtools.TestCase) -> None:
    """The API accepts what it has not written, when the database is away."""
    write = Acceptance.write

    def forgetful(*what: Any) -> None:
        try:
            write(*what)
        except KilonovaError:
            return

    case.patch(Acceptance, "write", forgetful)


def a_desired_server_is_accepted_before_its_index_names_it(case: testtools.TestCase) -> None:
    """Whoever breaks off between the two leaves a server that is nobody's, and another is started."""

    def start(
        api_db: Database, uuid: str, fillings: Sequence[Filling], limits: Limits
    ) -> list[InstanceUuid]:
        lot = Lot([one.accepted for one in fillings], limits)
        api_db.write(acceptance.writing([lot]))
        return [
            one.accepted.instance.uuid
            for one in fillings
            if desired.move(api_db, uuid, one.before, one.after)
        ]

    case.patch(desired, "start", start)


def _leave_out(case: testtools.TestCase, repairs: Mapping[str, Any], name: str) -> None:
    table = cast(MutableMapping[str, Any], repairs)
    case.addCleanup(table.__setitem__, name, table[name])
    table[name] = lambda *_scene: ()


BUGS: Mapping[Bug, int] = {
    a_build_request_that_nobody_took_up_is_forgotten: 1,
    a_build_that_no_host_began_is_not_sent_again: 1,
    a_delete_that_stopped_half_way_is_not_finished: 6,
    a_build_begins_although_another_did: 8,
    a_host_builds_although_the_cell_refused: 1,
    a_report_counts_in_whatever_order_it_comes: 4,
    claims_are_not_fenced: 8,
    a_deleted_server_keeps_its_claim: 3,
    a_guest_that_could_not_be_removed_is_told_gone: 13,
    a_host_that_starts_does_not_look_at_its_guests: 3,
    a_build_moves_before_its_epoch_is_ended: 4,
    a_request_is_sent_before_it_is_stored: 8,
    a_desired_server_is_accepted_before_its_index_names_it: 87,
}
"""Bug -> a seed that noticed it, which is tried first. What a seed does changes with the code."""
