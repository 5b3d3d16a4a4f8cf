"""Bugs put in by hand, each of which some storm must notice. Each breaks one promise in one place."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.api import servers as api_servers
from kilonova.compute import adoption
from kilonova.compute.adoption import Adoption, Step
from kilonova.compute.builder import Builder
from kilonova.conductor import rebuild
from kilonova.conductor.cell_conductor import CellConductor
from kilonova.conductor.repairs import OF_CELL, OF_DEPLOYMENT
from kilonova.db import build_requests, placement_claims, reports
from kilonova.placement.client import Placement

Bug = Callable[[testtools.TestCase], None]


def _nobody_drives_what_was_not_taken_up(case: testtools.TestCase) -> None:
    case.patch(build_requests, "stale", lambda *_a, **_k: ())


def _a_build_that_nobody_began_is_not_sent_again(case: testtools.TestCase) -> None:
    _without(case, OF_CELL, "build")


def _a_delete_that_stopped_is_not_finished(case: testtools.TestCase) -> None:
    _without(case, OF_CELL, "delete")


def _a_host_builds_although_the_cell_refused(case: testtools.TestCase) -> None:
    begins = Builder._begins

    def always(builder: Builder, *arguments: Any) -> bool:
        begins(builder, *arguments)
        return True

    case.patch(Builder, "_begins", always)


def _two_builders_begin_one_build(case: testtools.TestCase) -> None:
    case.patch(reports, "_BEGIN", reports._STAYS)


def _a_report_of_an_earlier_build_counts(case: testtools.TestCase) -> None:
    table = reports._instances
    any_epoch = sa.and_(
        table.c.uuid == sa.bindparam("b_uuid"),
        table.c.host == sa.bindparam("b_host"),
        table.c.deleted.is_(False),
        sa.bindparam("b_epoch") == sa.bindparam("b_epoch"),
    )
    change = sa.update(table).where(any_epoch, reports._stays)
    for name in ("_CHANGE", "_CHANGE_IDLE"):
        case.patch(reports, name, change)


def _a_late_report_counts(case: testtools.TestCase) -> None:
    unordered = reports._STAYS.where(sa.bindparam("b_number") > 0)
    case.patch(reports, "_CHANGE", unordered)
    case.patch(reports, "_NUMBERED", (unordered, reports._CHANGE_IDLE))


def _claims_are_not_fenced(case: testtools.TestCase) -> None:
    case.patch(placement_claims, "_check_fence", lambda *_a: None)


def _a_deleted_server_keeps_its_claim(case: testtools.TestCase) -> None:
    case.patch(Placement, "free", lambda _self, _consumers: None)
    _without(case, OF_CELL, "allocation")


def _a_host_that_starts_does_not_look_at_its_guests(case: testtools.TestCase) -> None:
    case.patch(Adoption, "adopt", lambda *_a: None)
    case.patch(Adoption, "look_again", lambda *_a: None)


def _a_delete_forgets_the_quota(case: testtools.TestCase) -> None:
    case.patch(api_servers.build_requests, "queue_for_delete", lambda *_a: True)


def _a_build_moves_without_ending_its_epoch(case: testtools.TestCase) -> None:
    case.patch(rebuild.Rebuild, "end", lambda _self, instance, **_k: copy.copy(instance))


def _a_guest_that_lost_its_server_stays(case: testtools.TestCase) -> None:
    case.patch(Builder, "_remove_unwanted", lambda *_a: None)
    case.patch(Adoption, "look_again", lambda *_a: None)
    case.patch(adoption, "step_for_stranger", lambda *_a: Step.LEAVE)


def _a_withdrawn_request_is_placed(case: testtools.TestCase) -> None:
    settle = build_requests.settle

    def blind(api_db: Any, placed: Any, driver: str) -> Any:
        settled = settle(api_db, placed, driver)
        everything = frozenset(placed)
        nobody: frozenset[Any] = frozenset()
        return settled.__class__(mapped=everything, lost=nobody, taken_over=nobody)

    case.patch(build_requests, "settle", blind)
    _without(case, OF_CELL, "build")


def _without(case: testtools.TestCase, repairs: Mapping[str, Any], name: str) -> None:
    case.patch(repairs, name, lambda *_a: ()) if False else _replace(case, repairs, name)


def _replace(case: testtools.TestCase, repairs: Any, name: str) -> None:
    kept = repairs[name]
    repairs[name] = lambda *_a: ()
    case.addCleanup(repairs.__setitem__, name, kept)


BUGS: Mapping[str, Bug] = {
    name.removeprefix("_").replace("_", " "): bug
    for name, bug in list(globals().items())
    if name.startswith(("_nobody", "_a_", "_two", "_claims"))
}
_ = OF_DEPLOYMENT, CellConductor
