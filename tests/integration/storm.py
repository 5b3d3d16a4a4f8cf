"""Boots and deletes while every service is killed in turn and the broker and the database restart.

``python -m tests.integration.storm [--boots 500] [--deletes 200] [--seed 1]`` runs a large one, on MariaDB
or, with ``--database postgresql``, on that, and prints its report; test_storm.py runs a small one. The
order and the moments follow from the seed, what they meet does not.
"""

import argparse
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import requests

from tests.integration import services
from tests.integration.deployment import COMMANDS, Deployment, fake_hosts
from tests.integration.services.process import CommandFailed, run

SERVICES = ("api", "placement", "conductor", "scheduler", "fake-a", "fake-b")
DATABASES = {"mariadb": services.mariadb, "postgresql": services.postgresql}
RESTARTS = 2
HOSTS = 4
"""Fake hosts of each of the two compute services."""
_PEOPLE = 4
_BOOTS_A_ROUND = 170
_ROUND_SECONDS = 30.0
_DEADLINE = 600.0
"""Seconds that a build may take; see ``instance_build_timeout``."""


@dataclass
class Report:
    """What came of a storm. All but the counts of ``statuses`` and ``restarts`` should be 0."""

    accepted: int = 0
    deleted: int = 0
    killed: int = 0
    restarts: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    surplus_domains: int = 0
    leaked: dict[str, int] = field(default_factory=dict)
    differs: str = ""
    longest: float = 0.0
    median: float = 0.0

    def wrongs(self) -> list[str]:
        """Return a line for everything that should not be."""
        found = [
            *(f"lost: {uuid}" for uuid in self.lost),
            *(f"stuck: {what}" for what in self.stuck),
            *(f"came back: {uuid}" for uuid in self.returned),
            *(f"leaked: {amount} {name}" for name, amount in self.leaked.items() if amount),
        ]
        if self.surplus_domains:
            found.append(f"{self.surplus_domains} domains more than ACTIVE servers")
        if self.differs:
            found.append(f"the converger still finds:\n{self.differs}")
        return found

    def __str__(self) -> str:
        statuses = ", ".join(f"{n} {status}" for status, n in sorted(self.statuses.items()))
        return "\n".join(
            (
                f"| accepted, deleted | {self.accepted}, {self.deleted} |",
                f"| services killed, broker and database restarted | {self.killed}, {self.restarts} |",
                f"| lost | {len(self.lost)} |",
                f"| stuck | {len(self.stuck)} |",
                f"| deleted and there again | {len(self.returned)} |",
                f"| duplicate domains | {self.surplus_domains} |",
                f"| leaked allocations | {sum(self.leaked.values())} |",
                f"| in the end | {statuses} |",
                f"| time to ACTIVE, median and longest | {self.median:.1f} s, {self.longest:.1f} s |",
                f"| the whole storm, until settled | {self.seconds:.0f} s |",
            )
        )


class People:
    """Clients that boot and delete until they have done their share; safe to use from threads."""

    def __init__(self, url: str, token: str, image: str, seed: int) -> None:
        self._url = url
        self._headers = {"X-Auth-Token": token, "OpenStack-API-Version": "compute 2.96"}
        self._image = image
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.kept: list[str] = []
        self.deleted: list[str] = []
        self.unsure: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response | None:
        """Ask the Compute API; None without an answer."""
        try:
            return requests.request(
                method, self._url + path, json=body, headers=self._headers, timeout=60
            )
        except requests.RequestException:
            return None

    def boot(self, number: int) -> None:
        """Ask for a server until one is accepted."""
        server = {"name": f"vm-{number}", "flavorRef": "tiny", "imageRef": self._image}
        while True:
            answer = self.ask("POST", "/servers", {"server": server | {"networks": "none"}})
            if answer is not None and answer.status_code == 202:
                with self._lock:
                    self.kept.append(answer.json()["server"]["id"])
                return
            if answer is not None and answer.status_code != 503:
                raise AssertionError(f"a boot was answered {answer.status_code}: {answer.text}")
            time.sleep(0.2)

    def delete_one(self) -> bool:
        """Delete some server that was accepted, until the API has taken that; False if there is none."""
        with self._lock:
            if not self.kept:
                return False
            uuid = self.kept.pop(self._chance.randrange(len(self.kept)))
            self.unsure.append(uuid)
        while True:
            answer = self.ask("DELETE", f"/servers/{uuid}")
            if answer is not None and answer.status_code in (204, 404):
                with self._lock:
                    self.unsure.remove(uuid)
                    self.deleted.append(uuid)
                return True
            time.sleep(0.2)

    def servers(self) -> list[dict[str, Any]]:
        """Return every server in detail. Raises AssertionError if the API does not answer."""
        found: list[dict[str, Any]] = []
        path = "/servers/detail?limit=500"
        while True:
            answer = self.ask("GET", path + (f"&marker={found[-1]['id']}" if found else ""))
            if answer is None or answer.status_code != 200:
                raise AssertionError(f"the list: {answer and answer.text}")
            page = answer.json()["servers"]
            found += page
            if len(page) < 500:
                return found


class Storm:
    """One storm over a deployment that runs."""

    def __init__(self, deployment: Deployment, image: str, seed: int) -> None:
        self._deployment = deployment
        self._chance = random.Random(seed)
        self._people = People(deployment.compute_url, deployment.token(), image, seed)
        self.report = Report()
        self._left_over = 0
        self._gently = False

    def run(self, boots: int, deletes: int, *, gently: bool = False) -> Report:
        """Boot, delete and kill; wait until all is settled; return what came of it.

        ``gently`` is a rolling restart: services are asked to end, and nothing else breaks.
        """
        self._gently = gently
        began = time.monotonic()
        rounds = -(-boots // _BOOTS_A_ROUND)
        # So that they last about as long as there is something to break.
        pause = _ROUND_SECONDS * rounds * _PEOPLE / (boots + deletes)
        wishes: list[Callable[[], None]] = [partial(self._boot, n, pause) for n in range(boots)]
        wishes += [partial(self._delete, pause)] * deletes
        self._chance.shuffle(wishes)
        with ThreadPoolExecutor(_PEOPLE) as threads:
            work = [threads.submit(wish) for wish in wishes]
            self._break_everything(rounds)
            for done in work:
                done.result()
        for _ in range(self._left_over):
            self._people.delete_one()
        self._settle()
        self.report.seconds = time.monotonic() - began
        self._judge()
        return self.report

    def _boot(self, number: int, pause: float) -> None:
        time.sleep(pause)
        self._people.boot(number)

    def _delete(self, pause: float) -> None:
        time.sleep(pause)
        # The first may come before there is anything to delete; they cannot all wait for that.
        if not self._people.delete_one():
            self._left_over += 1

    def _break_everything(self, rounds: int) -> None:
        """Kill each service in turn, some times, and restart the broker and the database between."""
        faults = [(self._kill, name) for name in SERVICES * rounds]
        if not self._gently:
            faults += [(self._restart, name) for name in ("broker", "database") * RESTARTS]
            self._chance.shuffle(faults)
        for fault, name in faults:
            time.sleep(self._chance.uniform(0.0, 2.0))
            fault(name)

    def _kill(self, name: str) -> None:
        process = self._deployment.processes[name]
        if self._gently:
            process.send(signal.SIGTERM)
            status = process.wait(15)
            assert status == 0, f"{name} ended with {status}: {process.tail()}"
        else:
            process.kill()
            process.wait(10)
        self.report.killed += 1
        time.sleep(self._chance.uniform(0.0, 1.0))
        if name.startswith("fake"):
            self._deployment.start_service("compute", name)
        else:
            self._deployment.start_service(name)
        self._deployment.wait_ready(name, 60)

    def _restart(self, name: str) -> None:
        self.report.restarts += 1
        if name == "broker":
            rabbitmq = services.rabbitmq()
            rabbitmq.broker.kill()
            rabbitmq.broker.wait(10)
            rabbitmq.start_broker()
            return
        self._deployment.database.crash()
        self._deployment.database.start_server()

    def _settle(self) -> None:
        """Wait until nothing is under way, at most for as long as a build may take."""
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline:
            if not self._restless():
                return
            time.sleep(1)
        self.report.stuck = self._restless()

    def _restless(self) -> list[str]:
        return [
            f"{server['id']} {server['status']} {server['OS-EXT-STS:task_state']}"
            for server in self._people.servers()
            if server["status"] == "BUILD" or server["OS-EXT-STS:task_state"]
        ]

    def _judge(self) -> None:
        report, people = self.report, self._people
        self._await_agreement()
        servers = {server["id"]: server for server in people.servers()}
        report.accepted = len(people.kept) + len(people.deleted)
        report.deleted = len(people.deleted)
        report.statuses = Counter(server["status"] for server in servers.values())
        report.lost = [uuid for uuid in people.kept if uuid not in servers]
        report.returned = [uuid for uuid in people.deleted if uuid in servers]
        report.surplus_domains = self._domains() - report.statuses["ACTIVE"]
        report.leaked = {"VCPU": self._leaked(servers)}
        times = sorted(_seconds_to_active(server) for server in servers.values() if _ran(server))
        report.median = times[len(times) // 2] if times else 0.0
        report.longest = times[-1] if times else 0.0
        # An accepted request whose answer was lost is there under nobody's name: it counts as well.
        report.accepted += len(servers.keys() - set(people.kept))

    def _await_agreement(self) -> None:
        """Wait until the operator's own command finds nothing that differs, for two rounds and a look."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.report.differs = self._converge()
            if not self.report.differs:
                return
            time.sleep(2)

    def _converge(self) -> str:
        """Return what ``kilonova converge --dry-run`` finds, nothing if all is well."""
        conf = str(self._deployment.directory / "kilonova.conf")
        command = [str(COMMANDS / "kilonova"), "converge", "--once", "--dry-run"]
        try:
            run([*command, "--config-file", conf])
        except CommandFailed as failed:
            return failed.stdout
        return ""

    def _domains(self) -> int:
        headers = {
            "X-Auth-Token": self._deployment.token(),
            "OpenStack-API-Version": "compute 2.87",
        }
        url = f"{self._deployment.compute_url}/os-hypervisors/statistics"
        deadline = time.monotonic() + 15
        while True:
            answer = requests.get(url, headers=headers, timeout=60).json()
            running = int(answer["hypervisor_statistics"]["running_vms"])
            # Hosts tell with their next sign of life.
            if running == self.report.statuses["ACTIVE"] or time.monotonic() > deadline:
                return running
            time.sleep(0.5)

    def _leaked(self, servers: Mapping[str, Mapping[str, Any]]) -> int:
        """Return how many VCPUs are held beyond one for each server that is on a host."""
        here = sum(bool(server.get("OS-EXT-SRV-ATTR:host")) for server in servers.values())
        deadline = time.monotonic() + 30
        # What somebody claimed just before he was killed is found by the converger's next rounds.
        while (leaked := self._held() - here) and time.monotonic() < deadline:
            time.sleep(1)
        return leaked

    def _held(self) -> int:
        """Return how many VCPUs are held in all."""
        headers = {
            "X-Auth-Token": self._deployment.token(),
            "OpenStack-API-Version": "placement 1.28",
        }
        base = self._deployment.placement_url
        used = 0
        providers = requests.get(f"{base}/resource_providers", headers=headers, timeout=60).json()
        for provider in providers["resource_providers"]:
            path = f"{base}/resource_providers/{provider['uuid']}/usages"
            used += requests.get(path, headers=headers, timeout=60).json()["usages"].get("VCPU", 0)
        return used


def _ran(server: Mapping[str, Any]) -> bool:
    return server.get("OS-SRV-USG:launched_at") is not None


def _seconds_to_active(server: Mapping[str, Any]) -> float:
    launched = datetime.fromisoformat(server["OS-SRV-USG:launched_at"])
    created = datetime.fromisoformat(server["created"].rstrip("Z"))
    return (launched - created).total_seconds()


def describe(database: services.MariaDB | services.PostgreSQL) -> Deployment:
    """Return the deployment that storms are for: two compute services, each of some fake hosts."""
    hosts = [fake_hosts(name, HOSTS) for name in ("fake-a", "fake-b")]
    for host in hosts:
        host.plays["spawn_seconds"] = 0.2
    return Deployment("storm", database, hosts)


def prepare(deployment: Deployment) -> str:
    """Make what servers are made of, and return the image's id."""
    size = ("--ram", "64", "--vcpus", "1", "--disk", "1")
    deployment.openstack("flavor", "create", "--id", "tiny", *size, "tiny")
    file = deployment.directory / "image"
    file.write_bytes(b"never read")
    made = deployment.openstack_json(
        *("image", "create", "--public", "--container-format", "bare", "--disk-format", "raw"),
        *("--file", str(file), "storm"),
    )
    return str(made["id"])


def main() -> int:
    """Run one storm and print its report; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.storm", description=__doc__)
    parser.add_argument("--boots", type=int, default=500)
    parser.add_argument("--deletes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=DATABASES, default="mariadb")
    options = parser.parse_args()
    deployment = describe(DATABASES[options.database]())
    try:
        deployment.start()
        report = Storm(deployment, prepare(deployment), options.seed).run(
            options.boots, options.deletes
        )
    finally:
        deployment.stop()
        services.stop_all()
    print(report)
    wrongs = report.wrongs()
    print("\n".join(wrongs))
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
