"""When a silent host is taken for dead, and when none is."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import testtools

from kilonova.core.host import Service
from kilonova.core.host_failure import (
    WISH,
    Ask,
    Fence,
    Forget,
    Mode,
    Suspect,
    Verdict,
    again_after,
    held_back,
    plan,
    silent,
    wants,
)
from kilonova.core.ids import HostName
from tests.instances import FLAVOR, instance

NOW = datetime(2026, 11, 21, 12, 0, 0)
DOWN_AFTER = 15


def service(name: str, ago: float | None, **more: Any) -> Service:
    """Return a compute host that was heard so many seconds ago."""
    seen = None if ago is None else NOW - timedelta(seconds=ago)
    plain = Service(
        uuid=name, binary="nova-compute", host=HostName(name), topic="compute", last_seen=seen
    )
    return msgspec.structs.replace(plain, **more)


def fleet(live: int, *ago: float) -> list[Service]:
    """Return so many hosts that are heard, and one that was last heard each of these seconds ago."""
    return [
        *(service(f"live-{n}", 1) for n in range(live)),
        *(service(f"quiet-{n}", seconds) for n, seconds in enumerate(ago)),
    ]


class SilentTest(testtools.TestCase):
    """Which hosts are silent at all."""

    def test_a_host_is_silent_that_was_not_heard_for_long_enough_and_is_not_disabled(self) -> None:
        cases: list[tuple[Service, bool]] = [
            (service("a", 15), False),
            (service("a", 15.5), True),
            (service("a", 1e6), True),
            (service("a", None), False),
            (service("a", 100, enabled=False), False),
            (service("a", 1, enabled=False), False),
            (service("a", 1, forced_down=True), False),
            (service("a", 100, forced_down=True), True),
        ]
        for one, expected in cases:
            self.assertEqual(expected, bool(silent([one], NOW, DOWN_AFTER)), one)


class MeltdownTest(testtools.TestCase):
    """More than a fifth of the hosts, and at least five, that fell silent within ten minutes."""

    def test_hosts_that_fell_silent_together_are_left_alone(self) -> None:
        minute = 60
        cases: list[tuple[str, list[Service], int]] = [
            ("nobody is silent", fleet(3), 0),
            ("one of three", fleet(2, 20), 0),
            ("two of three", fleet(1, 20, 30), 0),
            ("no host is heard", fleet(0, 20, 30, 40), 3),
            ("the only host", fleet(0, 20), 1),
            ("four of five, which are fewer than five", fleet(1, 20, 20, 20, 20), 0),
            ("five of 24 are more than a fifth", fleet(19, *[20.0] * 5), 5),
            ("five of 25 are a fifth", fleet(20, *[20.0] * 5), 0),
            ("six of 25", fleet(19, *[20.0] * 6), 6),
            ("within ten minutes", fleet(5, *(20 + n * 2 * minute for n in range(6))), 6),
            ("one every five minutes", fleet(5, *(20 + n * 5 * minute for n in range(6))), 2),
            ("one every eleven minutes", fleet(5, *(20 + n * 11 * minute for n in range(6))), 0),
            ("long ago, and together", fleet(5, *[86400.0] * 6), 6),
            ("one beside those of yesterday", fleet(9, *[86400.0] * 6, 20), 6),
        ]
        for what, services, expected in cases:
            held = held_back(services, NOW, DOWN_AFTER)
            self.assertEqual(expected, len(held.hosts) if held else 0, what)

    def test_it_does_not_give_way_as_time_passes(self) -> None:
        services = fleet(10, *(20 + n for n in range(6)))
        for later in (0, 9, 11, 60, 1440):
            moment = NOW + timedelta(minutes=later)
            heard = [
                msgspec.structs.replace(one, last_seen=moment) if one.host[0] == "l" else one
                for one in services
            ]
            held = held_back(heard, moment, DOWN_AFTER)
            assert held is not None
            self.assertEqual(6, len(held.hosts), later)

    def test_it_ends_when_enough_are_heard_again(self) -> None:
        self.assertIsNotNone(held_back(fleet(10, *[30.0] * 5), NOW, DOWN_AFTER))
        self.assertIsNone(held_back(fleet(11, *[30.0] * 4), NOW, DOWN_AFTER))

    def test_it_says_how_many(self) -> None:
        held = held_back(fleet(18, *[30.0] * 7), NOW, DOWN_AFTER)
        assert held is not None
        self.assertEqual("7 of 25 compute hosts fell silent within 10 minutes.", held.sentence)

    def test_disabled_hosts_are_with_their_operator_and_do_not_count(self) -> None:
        off = [service(f"off-{n}", 30, enabled=False) for n in range(20)]
        self.assertIsNone(held_back([*fleet(10, 20), *off], NOW, DOWN_AFTER))
        self.assertIsNotNone(held_back([*fleet(0, 20), *off], NOW, DOWN_AFTER))


class PlanTest(testtools.TestCase):
    """What is done about one host."""

    def steps(self, ago: float, fence: Fence | None = None, *, candidate: bool = True) -> Any:
        """Return what is done about a host that was heard so long ago."""
        one = service("h", ago)
        return plan([one], {one.host: fence} if fence else {}, [one.host] if candidate else [], NOW)

    def fence(self, verdict: Verdict, changed: float, since: float = 60, tries: int = 1) -> Fence:
        """Return what is known of the host since it changed so many seconds ago."""
        return Fence(
            host=HostName("h"),
            since=NOW - timedelta(seconds=since),
            verdict=verdict,
            changed_at=NOW - timedelta(seconds=changed),
            tries=tries,
        )

    def test_a_silent_host_is_suspected_and_asked_for_if_it_stays_silent(self) -> None:
        self.assertEqual((Suspect(HostName("h"), NOW - timedelta(seconds=60)),), self.steps(60))
        self.assertEqual((), self.steps(60, self.fence(Verdict.SUSPECTED, 7)))
        suspected = self.fence(Verdict.SUSPECTED, 8)
        self.assertEqual((Ask(suspected),), self.steps(60, suspected))

    def test_a_fence_that_was_never_heard_is_asked_again(self) -> None:
        self.assertEqual((), self.steps(60, self.fence(Verdict.ASKED, 70)))
        asked = self.fence(Verdict.ASKED, 76)
        self.assertEqual((Ask(asked),), self.steps(60, asked))

    def test_a_fence_that_says_no_is_asked_ever_more_rarely(self) -> None:
        for tries, pause in ((1, 30), (2, 60), (3, 120), (6, 600), (1000, 600)):
            early = self.fence(Verdict.REFUSED, pause - 1, tries=tries)
            self.assertEqual((), self.steps(60, early), tries)
            late = self.fence(Verdict.REFUSED, pause, tries=tries)
            self.assertEqual((Ask(late),), self.steps(60, late), tries)

    def test_a_dead_host_stays_dead_until_it_is_heard(self) -> None:
        dead = self.fence(Verdict.DEAD, 1e6)
        self.assertEqual((), self.steps(60, dead))
        self.assertEqual((), self.steps(60, dead, candidate=False))
        for verdict in Verdict:
            before = self.fence(verdict, 1, since=100)
            (step,) = self.steps(60, before)
            self.assertEqual(Forget(before, "it gave a sign of life"), step)

    def test_a_suspicion_ends_when_the_host_is_not_judged(self) -> None:
        for verdict in (Verdict.SUSPECTED, Verdict.REFUSED):
            known = self.fence(verdict, 100)
            (step,) = self.steps(60, known, candidate=False)
            self.assertIsInstance(step, Forget)
        self.assertEqual((), self.steps(60, self.fence(Verdict.ASKED, 1), candidate=False))

    def test_what_is_known_of_a_host_that_is_no_more_is_forgotten(self) -> None:
        dead = self.fence(Verdict.DEAD, 5)
        (step,) = plan([], {dead.host: dead}, [], NOW)
        self.assertIsInstance(step, Forget)

    def test_pauses_are_bounded(self) -> None:
        self.assertEqual(timedelta(seconds=30), again_after(0))
        self.assertEqual(timedelta(minutes=10), again_after(10**9))


class WishTest(testtools.TestCase):
    """Whose servers leave a dead host."""

    def test_a_servers_word_outweighs_its_flavors_and_that_the_mode(self) -> None:
        cases: list[tuple[Mode, str | None, str | None, bool]] = [
            (Mode.NEVER, None, None, False),
            (Mode.NEVER, "true", "true", False),
            (Mode.ASKED, None, None, False),
            (Mode.ASKED, None, "true", True),
            (Mode.ASKED, "True", None, True),
            (Mode.ASKED, "yes", "false", True),
            (Mode.ASKED, "no", "true", False),
            (Mode.ASKED, "perhaps", "true", False),
            (Mode.ALWAYS, None, None, True),
            (Mode.ALWAYS, "false", "true", False),
            (Mode.ALWAYS, None, "false", False),
            (Mode.ALWAYS, "true", "false", True),
        ]
        for mode, own, flavors, expected in cases:
            flavor = msgspec.structs.replace(
                FLAVOR, extra_specs={} if flavors is None else {WISH: flavors}
            )
            server = instance(flavor=flavor, metadata={} if own is None else {WISH: own})
            self.assertEqual(expected, wants(server, mode), (mode, own, flavors))
