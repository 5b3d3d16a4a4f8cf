"""Claims of one process that share transactions: each ends as it would have ended alone."""

import threading
from collections.abc import Callable
from typing import Any

import testscenarios
from sqlalchemy import event

from kilonova.core.errors import (
    DatabaseUnavailable,
    GenerationConflict,
    NoCapacity,
    NoSuchProvider,
)
from kilonova.core.scheduling import Inventory
from kilonova.db import placement_holdings, placement_inventories, placement_providers
from kilonova.db.engine import Database
from kilonova.db.placement_claims import Claim, replace_all
from kilonova.db.placement_rounds import ClaimRounds
from tests.functional.placement.placement_case import PlacementCase, used_and_allocated

load_tests = testscenarios.load_tests_apply_scenarios

PROVIDER = "aaaaaaaa-0000-4000-8000-000000000000"
NOWHERE = "dddddddd-0000-4000-8000-000000000000"
ROOM = 12


def claim(consumer: str, amount: int = 1, provider: str = PROVIDER, **changed: Any) -> Claim:
    """Return a claim of some VCPU."""
    allocation = {provider: {"VCPU": amount}}
    fields = {"consumer": consumer, "project_id": "p", "user_id": "u", "allocation": allocation}
    return Claim(**(fields | changed))


class Gate:
    """Holds the first transaction of a database open until so many callers wait behind it."""

    def __init__(self, database: Database) -> None:
        self.commits = 0
        self._open = threading.Event()
        self._first = threading.Event()
        event.listen(database.engine, "commit", self._commit)

    def _commit(self, _connection: Any) -> None:
        self.commits += 1
        self._first.set()
        self._open.wait(30)

    def wait_first(self) -> None:
        """Return when a transaction stands before its commit."""
        if not self._first.wait(30):
            raise AssertionError("nobody claims")

    def open(self) -> None:
        """Let it, and all that follow, pass."""
        self._open.set()


class RoundsTest(PlacementCase):
    """Several threads claim through the same rounds."""

    def setUp(self) -> None:
        """Make a provider with room for twelve."""
        super().setUp()
        placement_providers.create(self.db, PROVIDER, "host")
        inventory = {"VCPU": Inventory(total=ROOM)}
        placement_inventories.replace(self.db, PROVIDER, None, inventory)
        self.rounds = ClaimRounds(self.db)
        self.outcomes: dict[str, str] = {}

    def _try(self, name: str, claims: list[Claim]) -> None:
        try:
            self.rounds.claim(claims)
        except (NoCapacity, NoSuchProvider, GenerationConflict, DatabaseUnavailable) as error:
            self.outcomes[name] = type(error).__name__
        else:
            self.outcomes[name] = "done"

    def _together(self, first: list[Claim], later: dict[str, list[Claim]]) -> int:
        """Claim once, and all the others while that is not committed; return how many commits followed."""
        gate = Gate(self.db)
        threads = [threading.Thread(target=self._try, args=("first", first))]
        threads[0].start()
        gate.wait_first()
        arrived = self.rounds._rounds._arrived
        for number, (name, claims) in enumerate(later.items()):
            threads.append(threading.Thread(target=self._try, args=(name, claims)))
            threads[-1].start()
            self._wait(lambda expected=number + 1: len(arrived) == expected)  # type: ignore[misc]
        gate.open()
        for thread in threads:
            thread.join(60)
        return gate.commits - 1

    def _wait(self, until: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(3000):
            if until():
                return
            pause.wait(0.01)
        self.fail("it did not come to pass in 30 s")

    def _used(self) -> int:
        used, allocated = used_and_allocated(self.db)[PROVIDER, "VCPU"]
        self.assertEqual(used, allocated)
        return used

    def test_those_who_came_during_a_transaction_share_the_next_one(self) -> None:
        later = {f"c{n}": [claim(f"c{n}")] for n in range(6)}
        self.assertEqual(1, self._together([claim("c")], later))
        self.assertEqual(["done"] * 7, list(self.outcomes.values()))
        self.assertEqual(7, self._used())

    def test_who_is_refused_alone_is_refused_and_nobody_else_is(self) -> None:
        later = {
            "fits": [claim("fits", 3)],
            "too much": [claim("too much", 10)],
            "nowhere": [claim("nowhere", provider=NOWHERE)],
            "stale": [claim("stale", generation=7)],
            "both or none": [claim("one of two"), claim("two of two", provider=NOWHERE)],
            "fits too": [claim("fits too", 2)],
        }
        self._together([claim("first")], later)
        expected = {
            "first": "done",
            "fits": "done",
            "too much": "NoCapacity",
            "nowhere": "NoSuchProvider",
            "stale": "GenerationConflict",
            "both or none": "NoSuchProvider",
            "fits too": "done",
        }
        self.assertEqual(expected, self.outcomes)
        self.assertEqual(6, self._used())
        self.assertIsNone(placement_holdings.of_consumer(self.db, "one of two"))

    def test_two_claims_for_one_consumer_are_made_one_after_the_other(self) -> None:
        fresh = {"generation": None}
        later = {"once": [claim("same", 2, **fresh)], "again": [claim("same", 5, **fresh)]}
        self._together([claim("first")], later)
        self.assertEqual(
            {"first": "done", "once": "done", "again": "GenerationConflict"}, self.outcomes
        )
        self.assertEqual(3, self._used())

    def test_of_more_than_there_is_room_for_just_as_many_are_refused(self) -> None:
        later = {f"c{n}": [claim(f"c{n}", 2)] for n in range(8)}
        self._together([claim("first", 2)], later)
        self.assertEqual(6, list(self.outcomes.values()).count("done"))
        self.assertEqual(3, list(self.outcomes.values()).count("NoCapacity"))
        self.assertEqual(ROOM, self._used())

    def test_each_of_many_is_refused_with_its_own_reason(self) -> None:
        replace_all(self.db, [claim("there", 10)])
        many = [claim("a", 1), claim("b", 5), claim("c", 1), claim("d", provider=NOWHERE)]
        refused = self.rounds.claim_each(many)
        self.assertEqual({"b", "d"}, set(refused))
        self.assertIn("asked 5, capacity 12, used", str(refused["b"]))
        self.assertIn(NOWHERE, str(refused["d"]))
        self.assertEqual(ROOM, self._used())

    def test_a_database_that_is_gone_is_said_to_all_who_wait(self) -> None:
        for engine in self.db.engines:
            event.listen(engine, "before_cursor_execute", _broken)
        entries = [threading.Thread(target=self._try, args=(n, [claim(n)])) for n in ("a", "b")]
        for thread in entries:
            thread.start()
        for thread in entries:
            thread.join(60)
        self.assertEqual(dict.fromkeys(("a", "b"), "DatabaseUnavailable"), self.outcomes)


def _broken(*_arguments: Any) -> None:
    raise DatabaseUnavailable("The database does not answer.")
