"""Zones: the hosts of aggregates, and who moves between them."""

from datetime import datetime

import testtools

from kilonova.core.aggregate import (
    ZONE,
    HostAggregate,
    ZoneConflict,
    changed_metadata,
    check_zones,
    moved_hosts,
)

NOW = datetime(2026, 5, 1)


def group(number: int, zone: str | None, *hosts: str) -> HostAggregate:
    """Return an aggregate."""
    metadata = {} if zone is None else {ZONE: zone}
    return HostAggregate(
        number=number,
        uuid="",
        name=str(number),
        created_at=NOW,
        metadata=metadata,
        hosts=hosts,  # type: ignore[arg-type]
    )


class AggregateTest(testtools.TestCase):
    """Pure rules."""

    def test_a_host_may_be_in_one_zone_through_many_aggregates(self) -> None:
        check_zones([group(1, "a", "h"), group(2, "a", "h"), group(3, None, "h")])

    def test_a_host_in_two_zones_is_a_conflict_that_names_it(self) -> None:
        error = self.assertRaises(
            ZoneConflict, check_zones, [group(1, "a", "h"), group(2, "b", "h")]
        )
        self.assertIn("Host h ", str(error))

    def test_hosts_move_when_they_enter_change_or_leave_a_zone(self) -> None:
        before = [group(1, "a", "stays", "changes", "leaves")]
        after = [group(1, "a", "stays"), group(2, "b", "changes", "enters"), group(3, None, "new")]
        self.assertEqual({"changes", "leaves", "enters"}, moved_hosts(before, after))

    def test_metadata_is_set_and_removed(self) -> None:
        self.assertEqual({"b": "2"}, changed_metadata({"a": "1"}, {"a": None, "b": "2", "c": None}))
