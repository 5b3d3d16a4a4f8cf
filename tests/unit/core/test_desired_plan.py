"""What is done so that exactly one server runs at each index: case by case, and from any beginning."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import testtools
from hypothesis import given, settings
from hypothesis import strategies as st

from kilonova.core.desired import Actual, Desired, Ending, Life, Slot, life_of
from kilonova.core.desired_plan import (
    Drop,
    Finish,
    Start,
    Step,
    Stop,
    Vacate,
    at_once,
    failed_replace,
    plan,
)
from kilonova.core.ids import InstanceUuid, ProjectId, UserId
from kilonova.core.states import TaskState, VmState

NOW = datetime(2026, 5, 1, 12, 0, 0)
A, B, C, D = (InstanceUuid(name) for name in "abcd")


def desired(count: int = 3, **changed: Any) -> Desired:
    """Return so many desired servers of the first generation."""
    plain = Desired(
        uuid="d",
        name="web",
        project_id=ProjectId("p"),
        user_id=UserId("u"),
        count=count,
        generation=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(plain, **changed)


def slot(number: int, server: InstanceUuid | None = None, **changed: Any) -> Slot:
    """Return a slot of the first generation."""
    return Slot(**{"number": number, "server": server, "generation": 1} | changed)


def told(
    wanted: Desired, slots: list[Slot], actual: Mapping[InstanceUuid, Actual | Life]
) -> list[tuple[str, int]]:
    """Return the steps of a plan, as words with the index."""
    seen = {u: a if isinstance(a, Actual) else Actual(life=a) for u, a in actual.items()}
    return [said(step) for step in plan(wanted, slots, seen, NOW)]


def said(step: Step) -> tuple[str, int]:
    """Return a step as a word with its index."""
    number = -1 if isinstance(step, Finish) else step.before.number
    return type(step).__name__.lower(), number


ALL = [slot(0, A), slot(1, B), slot(2, C)]
RUN = dict.fromkeys((A, B, C, D), Life.RUNNING)


class OneServerTest(testtools.TestCase):
    """What follows from one server."""

    def test_nothing_is_done_while_one_runs_at_each_index(self) -> None:
        self.assertEqual([], told(desired(), ALL, RUN))

    def test_every_index_that_was_never_filled_is(self) -> None:
        self.assertEqual([("start", 0), ("start", 1), ("start", 2)], told(desired(), [], {}))

    def test_what_is_done_about_a_server_depends_on_how_it_is(self) -> None:
        lost = Actual(life=Life.RUNNING, host_lost=True)
        cases: list[tuple[Actual | Life, list[tuple[str, int]]]] = [
            (Life.BUILDING, []),
            (Life.HELD, []),
            (Life.UNKNOWN, []),
            (Life.LEAVING, []),
            (Life.BROKEN, [("stop", 1)]),
            (Life.GONE, [("vacate", 1), ("start", 1)]),
            (lost, [("stop", 1)]),
            (Actual(life=Life.BUILDING, host_lost=True), [("stop", 1)]),
            (Actual(life=Life.HELD, host_lost=True), []),
            (Actual(life=Life.LEAVING, host_lost=True), [("vacate", 1), ("start", 1)]),
        ]
        for how, expected in cases:
            self.assertEqual(expected, told(desired(), ALL, RUN | {B: how}), how)

    def test_a_server_of_which_nothing_was_told_is_left_alone(self) -> None:
        self.assertEqual([], told(desired(), ALL, {A: Life.RUNNING, C: Life.RUNNING}))

    def test_no_other_is_started_before_the_broken_one_is_gone(self) -> None:
        ending = [slot(0, A), slot(1, B, ending=Ending.FAILED, failures=1, failed_at=NOW), ALL[2]]
        for how in (Life.BROKEN, Life.RUNNING, Life.BUILDING):
            self.assertEqual([("stop", 1)], told(desired(), ending, RUN | {B: how}), how)
        self.assertEqual([], told(desired(), ending, RUN | {B: Life.LEAVING}))
        gone = told(desired(), ending, RUN | {B: Life.GONE})
        self.assertEqual([("vacate", 1), ("start", 1)], gone)

    def test_a_failure_is_counted_once_with_its_reason(self) -> None:
        broken = Actual(life=Life.BROKEN, reason="out of luck")
        (stop,) = plan(desired(1), [slot(0, A)], {A: broken}, NOW)
        assert isinstance(stop, Stop)
        noted = slot(0, A, ending=Ending.FAILED, failures=1, failed_at=NOW, reason="out of luck")
        self.assertEqual(noted, stop.after)
        vacate, start = plan(desired(1), [noted], {A: Actual(life=Life.GONE)}, NOW)
        assert isinstance(vacate, Vacate) and isinstance(start, Start)
        self.assertEqual(
            (1, None, None), (start.after.failures, start.after.ending, start.after.server)
        )

    def test_a_server_that_its_owner_deleted_counts_as_a_failure_and_a_stop_does_not(self) -> None:
        gone = {A: Actual(life=Life.GONE)}
        vacate, _ = plan(desired(1), [slot(0, A)], gone, NOW)
        assert isinstance(vacate, Vacate)
        self.assertEqual((1, "It was deleted."), (vacate.after.failures, vacate.after.reason))
        vacate, _ = plan(desired(1), [slot(0, A, ending=Ending.STOPPED)], gone, NOW)
        assert isinstance(vacate, Vacate)
        self.assertEqual((0, None), (vacate.after.failures, vacate.after.reason))

    def test_what_a_server_is_follows_from_its_states(self) -> None:
        cases = [
            (VmState.ACTIVE, None, Life.RUNNING),
            (VmState.ACTIVE, TaskState.REBOOTING, Life.RUNNING),
            (VmState.ACTIVE, TaskState.DELETING, Life.LEAVING),
            (VmState.ERROR, TaskState.DELETING, Life.LEAVING),
            (VmState.BUILDING, TaskState.SPAWNING, Life.BUILDING),
            (VmState.ERROR, None, Life.BROKEN),
            (VmState.STOPPED, None, Life.BROKEN),
            (VmState.STOPPED, TaskState.POWERING_ON, Life.HELD),
            (VmState.SOFT_DELETED, None, Life.BROKEN),
            (VmState.SOFT_DELETED, TaskState.RESTORING, Life.HELD),
            (VmState.PAUSED, None, Life.HELD),
            (VmState.RESIZED, None, Life.HELD),
            (VmState.SHELVED_OFFLOADED, None, Life.HELD),
        ]
        for vm_state, task, expected in cases:
            self.assertEqual(expected, life_of(vm_state, task), (vm_state, task))


class ScaleTest(testtools.TestCase):
    """More, fewer, none."""

    def test_only_what_is_new_is_started_when_there_are_to_be_more(self) -> None:
        self.assertEqual([("start", 3), ("start", 4)], told(desired(5), ALL, RUN))

    def test_the_highest_indexes_go_when_there_are_to_be_fewer(self) -> None:
        self.assertEqual([("stop", 1), ("stop", 2)], told(desired(1), ALL, RUN))
        ending = [ALL[0], slot(1, B, ending=Ending.STOPPED), slot(2)]
        steps = told(desired(1), ending, RUN | {B: Life.GONE})
        self.assertEqual([("vacate", 1), ("drop", 1), ("drop", 2)], steps)

    def test_everything_goes_and_then_what_was_desired(self) -> None:
        given_up = desired(3, deleting=True)
        self.assertEqual([("stop", 0), ("stop", 1), ("stop", 2)], told(given_up, ALL, RUN))
        steps = plan(given_up, [slot(0, A)], {A: Actual(life=Life.GONE)}, NOW)
        self.assertEqual(["Vacate", "Drop", "Finish"], [type(step).__name__ for step in steps])
        self.assertEqual([Finish()], list(plan(given_up, [], {}, NOW)))

    def test_a_failed_server_that_is_not_wanted_any_more_just_goes(self) -> None:
        (step,) = plan(desired(0), [slot(0, A)], {A: Actual(life=Life.BROKEN)}, NOW)
        assert isinstance(step, Stop)
        self.assertEqual(Ending.STOPPED, step.after.ending)


class BackOffTest(testtools.TestCase):
    """How long it takes until the next start."""

    def test_the_first_three_are_at_once_and_then_it_doubles_up_to_sixteen_minutes(self) -> None:
        waits = []
        for failures in range(1, 12):
            due = slot(0, failures=failures, failed_at=NOW).due()
            waits.append(None if due is None else (due - NOW).total_seconds())
        doubling = [30, 60, 120, 240, 480, 960, 960, 960]
        self.assertEqual([None, None, None, *doubling], waits)
        self.assertIsNotNone(slot(0, failures=10**6, failed_at=NOW).due())

    def test_nothing_is_started_before_it_is_time(self) -> None:
        failed = slot(0, failures=4, failed_at=NOW - timedelta(seconds=29))
        self.assertEqual([], told(desired(1), [failed], {}))
        failed = slot(0, failures=4, failed_at=NOW - timedelta(seconds=30))
        self.assertEqual([("start", 0)], told(desired(1), [failed], {}))

    def test_a_long_life_begins_the_count_anew(self) -> None:
        for lived, expected in ((299, 8), (300, 1)):
            launched = NOW - timedelta(seconds=lived)
            broken = Actual(life=Life.BROKEN, launched_at=launched)
            (step,) = plan(desired(1), [slot(0, A, failures=7)], {A: broken}, NOW)
            assert isinstance(step, Stop)
            self.assertEqual(expected, step.after.failures)

    def test_a_new_generation_does_not_wait_for_the_failures_of_the_last(self) -> None:
        failed = slot(0, failures=9, failed_at=NOW, reason="bad")
        (step,) = plan(desired(1, generation=2), [failed], {}, NOW)
        self.assertEqual(Start(failed, Slot(number=0, generation=2)), step)


class ReplaceTest(testtools.TestCase):
    """From one generation to the next."""

    def test_a_quarter_is_replaced_at_a_time_and_at_least_one(self) -> None:
        self.assertEqual([1, 1, 1, 2, 25], [at_once(n) for n in (1, 4, 7, 8, 100)])
        self.assertEqual([("stop", 0)], told(desired(3, generation=2), ALL, RUN))

    def test_the_next_one_waits_until_the_last_one_runs(self) -> None:
        new = desired(3, generation=2)
        begun = [slot(0, D, generation=2), *ALL[1:]]
        self.assertEqual([], told(new, begun, RUN | {D: Life.BUILDING}))
        self.assertEqual([("stop", 1)], told(new, begun, RUN))

    def test_nothing_is_replaced_while_another_index_has_no_server(self) -> None:
        new = desired(3, generation=2)
        self.assertEqual([("stop", 2)], told(new, ALL, RUN | {C: Life.BROKEN}))
        waiting = [ALL[0], ALL[1], slot(2, C, ending=Ending.FAILED)]
        self.assertEqual([], told(new, waiting, RUN | {C: Life.LEAVING}))

    def test_what_does_not_run_yet_is_replaced_at_once(self) -> None:
        new = desired(3, generation=2)
        self.assertEqual([("stop", 1)], told(new, ALL, RUN | {B: Life.BUILDING}))

    def test_the_first_failure_ends_it_until_that_server_runs(self) -> None:
        new = desired(8, generation=2)
        servers = [InstanceUuid(f"s{n}") for n in range(8)]
        slots = [slot(n, uuid) for n, uuid in enumerate(servers)]
        slots[0] = slot(0, D, generation=2, failures=1, failed_at=NOW, reason="bad image")
        actual = {uuid: Actual(life=Life.RUNNING) for uuid in servers}
        held = actual | {D: Actual(life=Life.BUILDING)}
        # Two may be missing at a time, and only one is.
        self.assertEqual((), plan(new, slots, held, NOW))
        failed = failed_replace(new, slots, held)
        assert failed is not None
        self.assertEqual("bad image", failed.reason)
        runs = actual | {D: Actual(life=Life.RUNNING)}
        self.assertIsNone(failed_replace(new, slots, runs))
        self.assertEqual([("stop", 1), ("stop", 2)], [said(s) for s in plan(new, slots, runs, NOW)])

    def test_what_dies_meanwhile_is_made_of_what_worked(self) -> None:
        new = desired(4, generation=2)
        failed = slot(0, None, generation=2, failures=9, failed_at=NOW, reason="bad image")
        slots = [failed, slot(1), slot(2, C)]
        steps = plan(new, slots, {C: Actual(life=Life.RUNNING)}, NOW)
        started = {s.after.number: s.after.generation for s in steps if isinstance(s, Start)}
        self.assertEqual({1: 1, 3: 1}, started)


class World:
    """Slots and servers to which steps are applied, as the database and hosts would."""

    def __init__(self, wanted: Desired, slots: dict[int, Slot], actual: dict[InstanceUuid, Actual]):
        self.wanted, self.slots, self.actual = wanted, slots, actual
        self.now = NOW
        self.finished = False
        self._made = 0

    def missing(self) -> int:
        """Return at how many indexes nothing runs."""
        lives = [
            self.actual[s.server].life
            for s in self.slots.values()
            if s.server is not None and s.number < self.wanted.wanted
        ]
        return self.wanted.wanted - sum(life in (Life.RUNNING, Life.HELD) for life in lives)

    def steps(self) -> tuple[Step, ...]:
        """Return what is to be done now."""
        return plan(self.wanted, self.slots.values(), self.actual, self.now)

    def is_quiet(self) -> bool:
        """Whether every server runs, or is gone, and no index waits for its next one."""
        ended = {one.life for one in self.actual.values()} <= {Life.RUNNING, Life.GONE}
        return ended and all(one.server for one in self.slots.values())

    def live(self) -> list[InstanceUuid]:
        """Return the servers that may run."""
        return [uuid for uuid, one in self.actual.items() if one.life is not Life.GONE]

    def apply(self, step: Step) -> None:
        """Make one step."""
        if isinstance(step, Finish):
            self.finished = True
            return
        before = step.before
        held = self.slots.get(before.number, Slot(number=before.number))
        assert held == before, f"{step} is not about {held}"
        if isinstance(step, Drop):
            assert before.server is None
            del self.slots[before.number]
        elif isinstance(step, Start):
            self._made += 1
            new = InstanceUuid(f"new-{self._made}")
            self.slots[before.number] = msgspec.structs.replace(step.after, server=new)
            self.actual[new] = Actual(life=Life.BUILDING)
        else:
            self.slots[before.number] = step.after
            if isinstance(step, Stop):
                assert step.after.server is not None
                old = self.actual[step.after.server]
                leaving = msgspec.structs.replace(old, life=Life.LEAVING)
                self.actual[step.after.server] = leaving

    def pass_time(self) -> None:
        """Let hosts do what they were told, and let every back-off come to its end."""
        self.now += timedelta(minutes=17)
        follows = {
            Life.BUILDING: Life.RUNNING,
            Life.LEAVING: Life.GONE,
            Life.UNKNOWN: Life.RUNNING,
            Life.HELD: Life.RUNNING,
        }
        for uuid, one in self.actual.items():
            life = follows.get(one.life, one.life)
            self.actual[uuid] = Actual(life=life, reason=one.reason)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw any state of affairs: slots beyond the count, of any generation, with servers in any state."""
    generation = draw(st.integers(1, 3))
    wanted = desired(draw(st.integers(0, 9)), generation=generation, deleting=draw(st.booleans()))
    slots, actual = {}, {}
    for number in draw(st.sets(st.integers(0, 11))):
        server = InstanceUuid(f"s{number}") if draw(st.booleans()) else None
        failures = draw(st.integers(0, 12))
        slots[number] = Slot(
            number=number,
            generation=draw(st.integers(0 if server is None else 1, generation)),
            server=server,
            ending=draw(st.sampled_from([None, *Ending])) if server else None,
            failures=failures,
            failed_at=NOW if failures else None,
        )
        if server is not None:
            life, lost = draw(st.sampled_from(list(Life))), draw(st.booleans())
            actual[server] = Actual(life=life, host_lost=lost)
    return World(wanted, slots, actual)


class AnyBeginningTest(testtools.TestCase):
    """Whatever there is, and wherever it breaks off."""

    @settings(max_examples=100, deadline=None)
    @given(worlds(), st.data())
    def test_it_comes_to_exactly_one_server_of_the_newest_generation_at_each_index(
        self, world: World, data: st.DataObject
    ) -> None:
        for _ in range(80):
            steps = world.steps()
            if not steps and world.is_quiet():
                break
            # A converger may be killed after any of its steps.
            for step in steps[: data.draw(st.integers(1, max(1, len(steps))))]:
                world.apply(step)
            world.pass_time()
            if world.finished:
                break
        self.assertTrue(world.finished or not world.steps())
        expected = [(number, world.wanted.generation) for number in range(world.wanted.wanted)]
        held = sorted((s.number, s.generation) for s in world.slots.values())
        self.assertEqual(expected, held)
        self.assertEqual(world.wanted.deleting, world.finished)
        running = sorted(str(one.server) for one in world.slots.values())
        self.assertEqual(running, sorted(world.live()))
        self.assertTrue(world.is_quiet())

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 17), st.data())
    def test_a_replace_never_takes_away_more_than_it_may(
        self, count: int, data: st.DataObject
    ) -> None:
        servers = [InstanceUuid(f"s{n}") for n in range(count)]
        slots = {n: slot(n, uuid) for n, uuid in enumerate(servers)}
        actual = {uuid: Actual(life=Life.RUNNING) for uuid in servers}
        world = World(desired(count, generation=2), slots, actual)
        for turn in range(count * 12):
            for step in world.steps():
                world.apply(step)
                self.assertLessEqual(world.missing(), at_once(count))
            if turn % 3 == 2 or data.draw(st.booleans()):
                world.pass_time()
            if all(one.generation == 2 for one in world.slots.values()):
                break
        self.assertEqual({2}, {one.generation for one in world.slots.values()})
