"""The simulator: described fleets and workloads, decided by the real pipeline."""

import argparse
import contextlib
import io
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import testtools

from kilonova.cli import simulate
from kilonova.core import settings
from kilonova.core.candidates import Group, Request
from kilonova.core.errors import Invalid
from kilonova.scheduler import recipe, workload
from kilonova.scheduler.simulated_fleet import Fleet, FleetPlan, HostKind
from kilonova.scheduler.simulator import Crowd, Results, Simulation
from kilonova.scheduler.workload import Arrival, Asked, ServerKind, Size, WorkloadPlan

EXAMPLES = Path(__file__).parents[3] / "doc/examples/simulation"
SMALL = Size(vcpus=1, memory_mb=1024, root_gb=1)


def kind(count: int, **changed: Any) -> HostKind:
    """Return so many hosts with 8 VCPUs, 8 GiB and 100 GiB to give."""
    sizes: dict[str, Any] = {"vcpus": 8, "memory_mb": 8192, "disk_gb": 100}
    exact = {"cpu_allocation_ratio": 1.0, "reserved_host_memory_mb": 0}
    return HostKind(count=count, **sizes | exact | changed)


def plan(requests: int, *, how: str = "burst", **changed: Any) -> WorkloadPlan:
    """Return so many requests for a small server."""
    server = ServerKind(flavor="small", **changed)
    arrival = Arrival(kind=how, requests=requests, rate=100)
    return WorkloadPlan(flavors={"small": SMALL}, servers=(server,), arrival=arrival)


def simulate_it(
    hosts: Sequence[HostKind], asked: WorkloadPlan, *, seed: int = 1, batch: int = 10
) -> Results:
    """Run a simulation with the usual recipe."""
    conf = settings.new_config()
    conf([])
    fleet = Fleet(FleetPlan(hosts=tuple(hosts)), seed=seed, least=workload.least(asked))
    simulation = Simulation(fleet, recipe.load(conf), seed=seed, batch=batch)
    arriving = workload.requests(asked, seed)
    return simulation.run(arriving, build_seconds=asked.build_seconds, progress=lambda _: None)


class SimulatorTest(testtools.TestCase):
    """What comes of a simulation."""

    def test_the_same_seed_places_the_same_and_another_differently(self) -> None:
        asked = plan(100, how="poisson", lifetime=1.0)
        first, again, other = (simulate_it([kind(20)], asked, seed=s) for s in (1, 1, 2))
        self.assertEqual(first.placements, again.placements)
        self.assertEqual(first.samples[-1].servers, again.samples[-1].servers)
        self.assertNotEqual(first.placements, other.placements)

    def test_exactly_as_many_servers_are_placed_as_there_is_room_for(self) -> None:
        for batch in (1, 10, 64):
            results = simulate_it([kind(10)], plan(100), batch=batch)
            self.assertEqual((80, 20), (results.placed, results.refused), batch)
            self.assertEqual({"VCPU": 1.0, "MEMORY_MB": 1.0, "DISK_GB": 0.08}, results.used)
            self.assertEqual(
                (10, 10, 0), (results.hosts_used, results.hosts_at_least, results.balance)
            )

    def test_why_servers_were_refused_is_counted(self) -> None:
        hosts = [kind(2, zones=("z1",), name="a"), kind(2, zones=("z2",), name="b")]
        results = simulate_it(hosts, plan(20, zone="z1"))
        self.assertEqual((16, 4), (results.placed, results.refused))
        self.assertEqual({"no room on any host": 4}, results.reasons)
        used = results.used_by_host["VCPU"]
        self.assertEqual([1.0, 1.0, 0.0, 0.0], used)

    def test_equal_hosts_fill_evenly(self) -> None:
        roomy = kind(10, vcpus=1000, memory_mb=2**20, disk_gb=2000)
        for how, batch in (("poisson", 1), ("burst", 1), ("burst", 100)):
            results = simulate_it([roomy], plan(410, how=how), batch=batch)
            self.assertEqual(410, results.placed)
            self.assertLessEqual(results.balance, 2, (how, batch))

    def test_a_sample_of_a_large_fleet_fills_it_evenly_too(self) -> None:
        results = simulate_it([kind(1000)], plan(2000), batch=50)
        self.assertLessEqual(results.balance, 3)
        self.assertLess(results.considered_per_decision, 500)

    def test_servers_that_go_give_their_room_back(self) -> None:
        results = simulate_it([kind(1)], plan(200, how="poisson", lifetime=0.001))
        self.assertGreater(results.refused, 0)
        longer = WorkloadPlan(
            flavors={"small": SMALL},
            servers=(ServerKind(flavor="small", lifetime=0.001),),
            arrival=Arrival(kind="poisson", requests=200, rate=0.1),
            build_seconds=0.0,
        )
        results = simulate_it([kind(1)], longer)
        self.assertEqual((200, 0), (results.placed, results.refused))

    def test_a_full_host_is_offered_again_when_something_is_given_back(self) -> None:
        fleet = Fleet(FleetPlan(hosts=(kind(3),)), seed=1, least={"VCPU": 2})
        asked = Request(groups=(Group(resources={"VCPU": 2}),))

        def offered() -> set[str]:
            return {fit.host.provider_uuid for fit in fleet.candidates(asked, random.Random(1))}

        everything = offered()
        self.assertEqual(3, len(everything))
        full = fleet.hosts[1].provider_uuid
        index = fleet.claim(full, {"VCPU": 7})
        assert index is not None
        self.assertEqual(everything - {full}, offered())
        self.assertIsNone(fleet.claim(full, {"VCPU": 2}))
        fleet.give_back(index, {"VCPU": 7})
        self.assertEqual(everything, offered())

    def test_a_server_that_no_host_is_large_enough_for_is_refused(self) -> None:
        asked = WorkloadPlan(
            flavors={"huge": Size(vcpus=9, memory_mb=1)},
            servers=(ServerKind(flavor="huge"),),
            arrival=Arrival(kind="burst", requests=3),
        )
        results = simulate_it([kind(5)], asked)
        self.assertEqual((0, 3, 0), (results.placed, results.refused, results.hosts_used))

    def test_the_least_number_of_hosts_counts_the_largest_first(self) -> None:
        hosts = FleetPlan(hosts=(kind(3, name="a"), kind(1, name="b", vcpus=32)))
        fleet = Fleet(hosts, seed=1, least={})
        for demand, least in (
            ({"VCPU": 0}, 0),
            ({"VCPU": 32}, 1),
            ({"VCPU": 33}, 2),
            ({"VCPU": 48}, 3),
            ({"VCPU": 1, "MEMORY_MB": 3 * 8192}, 3),
        ):
            self.assertEqual(least, fleet.least_hosts(demand), demand)

    def test_flavors_can_demand_traits_and_aggregates_of_hosts(self) -> None:
        hosts = [kind(2, name="plain"), kind(1, name="fast", traits=("CUSTOM_FAST",))]
        fast = Size(vcpus=1, memory_mb=1, extra_specs={"trait:CUSTOM_FAST": "required"})
        asked = WorkloadPlan(
            flavors={"fast": fast},
            servers=(ServerKind(flavor="fast"),),
            arrival=Arrival(kind="burst", requests=10),
        )
        results = simulate_it(hosts, asked)
        self.assertEqual((8, 2), (results.placed, results.refused))
        self.assertEqual([1.0, 0.0, 0.0], results.used_by_host["VCPU"])


class CrowdTest(testtools.TestCase):
    """Several schedulers, each with a picture of its own."""

    def _run(
        self,
        hosts: HostKind,
        asked: WorkloadPlan,
        crowd: Crowd,
        batch: int = 10,
        subset_size: int = 1,
    ) -> Results:
        conf = settings.new_config()
        conf([])
        conf.set_override("host_subset_size", subset_size, "filter_scheduler")
        fleet = Fleet(FleetPlan(hosts=(hosts,)), seed=3, least=workload.least(asked))
        simulation = Simulation(fleet, recipe.load(conf), seed=3, batch=batch, crowd=crowd)
        arriving = workload.requests(asked, 3)
        return simulation.run(arriving, build_seconds=10.0, progress=lambda _: None)

    def test_late_claims_are_refused_and_picked_anew_until_there_is_no_room(self) -> None:
        crowd = Crowd(schedulers=4, delay=0.05)
        for how, batch in (("burst", 10), ("burst", 1), ("poisson", 1)):
            results = self._run(kind(10), plan(100, how=how), crowd, batch)
            self.assertEqual((80, 20), (results.placed, results.refused), (how, batch))
            self.assertEqual((10, 0), (results.hosts_used, results.balance), (how, batch))
            self.assertGreater(results.claims_refused, 0, (how, batch))
            self.assertEqual(4, results.schedulers)

    def test_one_scheduler_sees_its_own_picks_before_they_are_claimed(self) -> None:
        results = self._run(kind(10), plan(80), Crowd(schedulers=1, delay=5.0))
        self.assertEqual((80, 0, 0), (results.placed, results.claims_refused, results.balance))

    def test_the_same_seed_places_the_same_however_many_there_are(self) -> None:
        asked = plan(100, how="poisson", lifetime=1.0)
        crowd = Crowd(schedulers=3, delay=0.2)
        first, again = (self._run(kind(20), asked, crowd) for _ in range(2))
        self.assertEqual(first.placements, again.placements)
        alone = self._run(kind(20), asked, Crowd())
        self.assertNotEqual(first.placements, alone.placements)

    def test_schedulers_that_pick_among_several_of_the_best_do_not_stampede(self) -> None:
        roomy = kind(50, vcpus=1000, memory_mb=2**20, disk_gb=2000)
        asked = plan(1000, how="poisson")
        crowd = Crowd(schedulers=8, delay=0.05)
        found = {size: self._run(roomy, asked, crowd, subset_size=size).balance for size in (1, 8)}
        self.assertLessEqual(found[8], 3)
        self.assertLess(found[8], found[1])


class WorkloadTest(testtools.TestCase):
    """Requests out of a description."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def test_poisson_arrivals_come_at_the_rate(self) -> None:
        arriving = list(workload.requests(plan(2000, how="poisson"), 5))
        self.assertEqual(2000, len(arriving))
        self.assertAlmostEqual(20.0, arriving[-1].at, delta=2.0)
        self.assertEqual(sorted(one.at for one in arriving), [one.at for one in arriving])

    def test_a_burst_comes_at_one_moment_in_the_mix_that_is_described(self) -> None:
        mixed = WorkloadPlan(
            flavors={"small": SMALL, "large": Size(vcpus=4, memory_mb=4096)},
            servers=(ServerKind(flavor="small", weight=3), ServerKind(flavor="large", count=2)),
            arrival=Arrival(kind="burst", requests=1000),
        )
        arriving = list(workload.requests(mixed, 5))
        self.assertEqual({0.0}, {one.at for one in arriving})
        large = [one for one in arriving if one.spec.flavor.name == "large"]
        self.assertAlmostEqual(250, len(large), delta=50)
        self.assertEqual({2}, {one.count for one in large})

    def test_a_trace_is_read_in_the_order_of_time(self) -> None:
        self._write("t.csv", "at,flavor,count,lifetime,zone\n9,small,,,\n2.5,small,3,60,z1\n")
        text = "flavors: {small: {vcpus: 1, memory_mb: 512}}\narrival: {kind: trace, file: t.csv}\n"
        asked = workload.read_workload(self._write("w.yaml", text))
        self.assertEqual(
            [(2.5, 3, 60.0, "z1"), (9.0, 1, None, None)],
            [
                (one.at, one.count, one.lifetime, one.spec.availability_zone)
                for one in workload.requests(asked, 1)
            ],
        )

    def test_what_is_wrong_in_a_file_is_told_with_its_name(self) -> None:
        flavors = "flavors: {small: {vcpus: 1, memory_mb: 512}}\n"
        burst = "arrival: {kind: burst}\n"
        for text, words in (
            ("{", "w.yaml: "),
            (flavors, "missing required field `arrival`"),
            (flavors + burst, "none is asked for"),
            (flavors + burst + "servers: [{flavor: tiny}]\n", "no flavor 'tiny'"),
            (flavors + burst + "servers: [{flavour: small}]\n", "unknown field `flavour`"),
            (flavors + "arrival: {kind: flood}\nservers: [{flavor: small}]\n", "flood"),
            (flavors + "arrival: {kind: poisson, rate: 0}\nservers: [{flavor: small}]\n", "rate"),
        ):
            path = self._write("w.yaml", text)
            error = self.assertRaises(Invalid, workload.read_workload, path)
            self.assertIn("w.yaml", error.message)
            self.assertIn(words, error.message)
        self.assertRaises(Invalid, workload.read_fleet, self.directory / "missing.yaml")

    def test_a_trace_that_cannot_be_read_is_told_with_its_name(self) -> None:
        text = "flavors: {small: {vcpus: 1, memory_mb: 1}}\narrival: {kind: trace, file: t.csv}\n"
        asked = workload.read_workload(self._write("w.yaml", text))
        for rows in (
            "",
            "when,flavor\n1,small\n",
            "at,flavor\nsoon,small\n",
            "at,flavor\n1,tiny\n",
        ):
            self._write("t.csv", rows)
            if rows:
                error = self.assertRaises(Invalid, list, workload.requests(asked, 1))
                self.assertIn("t.csv", error.message)
            else:
                self.assertEqual([], list(workload.requests(asked, 1)))

    def test_the_examples_are_what_can_be_read(self) -> None:
        names = {path.name for path in EXAMPLES.glob("*.yaml")}
        fleets = {name for name in names if name.startswith(("fleet", "cells"))}
        sizes = {sum(k.count for k in workload.read_fleet(EXAMPLES / f).hosts) for f in fleets}
        self.assertEqual({10, 100, 1000, 10000, 100000}, sizes)
        kinds = {workload.read_workload(EXAMPLES / name).arrival.kind for name in names - fleets}
        self.assertEqual({"poisson", "burst", "trace"}, kinds)
        trace = workload.read_workload(EXAMPLES / "trace.yaml")
        first: Asked = next(workload.requests(trace, 0))
        self.assertEqual((0.0, 4, "small"), (first.at, first.count, first.spec.flavor.name))


class CommandTest(testtools.TestCase):
    """``kilonova simulate``."""

    def _run(self, *words: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        simulate.add_arguments(parser)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = simulate.run(parser.parse_args(words))
        return code, out.getvalue(), err.getvalue()

    def test_it_prints_a_table_and_succeeds_where_all_fit(self) -> None:
        fleet, trace = str(EXAMPLES / "fleet-10.yaml"), str(EXAMPLES / "trace.yaml")
        code, out, err = self._run(fleet, trace)
        self.assertEqual((0, ""), (code, err))
        self.assertRegex(out, r"\| servers +\| 24 ")

    def test_it_prints_json_and_tells_by_its_status_that_some_do_not_fit(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "w.yaml"
        path.write_text(
            "flavors: {huge: {vcpus: 64, memory_mb: 1024}}\nservers: [{flavor: huge}]\n"
            "arrival: {kind: burst, requests: 11}\n"
        )
        fleet = str(EXAMPLES / "fleet-10.yaml")
        code, out, _ = self._run(fleet, str(path), "-f", "json", "--seed", "4")
        results = json.loads(out)
        self.assertEqual(1, code)
        self.assertEqual((10, 1, 4), (results["placed"], results["refused"], results["seed"]))

    def test_it_draws_a_picture(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "run.png"
        fleet, trace = str(EXAMPLES / "fleet-10.yaml"), str(EXAMPLES / "trace.yaml")
        code, _, err = self._run(fleet, trace, "--plot", str(path))
        self.assertEqual((0, ""), (code, err))
        picture = path.read_bytes()
        self.assertTrue(picture.startswith(b"\x89PNG\r\n\x1a\n"))
        # Width and height stand at the beginning of a PNG, as numbers of four bytes.
        size = tuple(int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        self.assertEqual((1000, 1200), size)

    def test_a_bar_shows_how_far_it_is_on_a_terminal(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        parser = argparse.ArgumentParser()
        simulate.add_arguments(parser)
        fleet, trace = (str(EXAMPLES / name) for name in ("fleet-1000.yaml", "burst.yaml"))
        words = [fleet, trace, "--schedulers", "2"]
        for more, shown in (([], True), (["--quiet"], False)):
            out, terminal = io.StringIO(), Terminal()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(terminal):
                simulate.run(parser.parse_args([*words, *more]))
            told = terminal.getvalue()
            self.assertEqual(shown, told.endswith(f"[{'#' * 40}] 10000 requests\n"), told[-99:])
            self.assertRegex(out.getvalue(), r"\| schedulers +\| 2 ")

    def test_an_error_has_a_status_and_a_sentence_of_its_own(self) -> None:
        trace = str(EXAMPLES / "trace.yaml")
        code, out, err = self._run("missing.yaml", trace)
        self.assertEqual((255, ""), (code, out))
        self.assertRegex(err, "^kilonova simulate: missing.yaml: ")
