"""``kilonova bench boot``: how fast a running cloud boots servers, and what that costs.

Speaks the Compute API only, so the same program measures kilonova and any other OpenStack cloud.
"""

import argparse
import statistics
import threading
import time
from collections import Counter
from typing import Any

import requests

from kilonova.cli.cloud import Cloud, connect
from kilonova.cli.cloud import add_arguments as add_cloud
from kilonova.cli.processes import Usage
from kilonova.core.errors import KilonovaError

_MICROVERSION = "2.37"
_POLL = 0.1
_PATIENCE = 300.0


def _headers(cloud: Cloud) -> dict[str, str]:
    """Return the headers of every request."""
    return {"X-Auth-Token": cloud.token, "OpenStack-API-Version": f"compute {_MICROVERSION}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``kilonova bench boot``."""
    add_cloud(parser)
    parser.add_argument("--servers", type=int, default=100, metavar="N")
    parser.add_argument("--concurrency", type=int, default=1, metavar="C")
    parser.add_argument("--flavor", default="1", help="a flavor's id")
    parser.add_argument("--image", required=True, help="an image's UUID")
    parser.add_argument("--one-request", action="store_true", help="ask for all by one min_count")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="count CPU time only of processes with this in their command line or a parent's",
    )
    parser.add_argument("--keep", action="store_true", help="do not delete the servers afterwards")


class _Boots:
    """Posts servers from several threads and remembers when each was accepted and ACTIVE."""

    def __init__(self, cloud: Cloud, options: argparse.Namespace) -> None:
        self._cloud = cloud
        self._options = options
        self._lock = threading.Lock()
        self.latencies: list[float] = []
        self.accepted: dict[str, float] = {}
        self.active: dict[str, float] = {}
        self.failed: Counter[str] = Counter()
        self.asked_until = 0.0

    def post(self, count: int, at_once: int = 1) -> None:
        session = requests.Session()
        server = {
            "name": "bench",
            "flavorRef": self._options.flavor,
            "imageRef": self._options.image,
            "networks": "none",
            "min_count": at_once,
            "max_count": at_once,
        }
        for _ in range(count):
            began = time.monotonic()
            answer = session.post(
                f"{self._cloud.compute}/servers",
                json={"server": server},
                headers=_headers(self._cloud),
                timeout=120,
            )
            ended = time.monotonic()
            with self._lock:
                self.asked_until = max(self.asked_until, ended)
                if answer.status_code == 202:
                    self.latencies.append(ended - began)
                    self.accepted[answer.json()["server"]["id"]] = began
                else:
                    self.failed[f"{answer.status_code}: {answer.text[:200]}"] += 1

    def watch(self, posting: list[threading.Thread]) -> float:
        """Poll which servers still build until none does; return when that was seen."""
        session = requests.Session()
        deadline = time.monotonic() + _PATIENCE
        while True:
            done = not any(thread.is_alive() for thread in posting)
            with self._lock:
                waiting = set(self.accepted) - set(self.active)
            building = {server["id"] for server in listed(session, self._cloud, "status=BUILD")}
            now = time.monotonic()
            self.active |= dict.fromkeys(waiting - building, now)
            if (done and not building) or now > deadline:
                return now
            time.sleep(_POLL)


def listed(session: requests.Session, cloud: Cloud, query: str = "") -> list[dict[str, Any]]:
    """Return every server of the project that the query finds, page after page."""
    found: list[dict[str, Any]] = []
    url: str | None = f"{cloud.compute}/servers/detail?limit=1000&{query}"
    while url:
        body = session.get(url, headers=_headers(cloud), timeout=120).json()
        found += body["servers"]
        url = next((link["href"] for link in body.get("servers_links", [])), None)
    return found


def run(options: argparse.Namespace) -> int:
    """Boot, measure, print the table, and delete. 0 if every server became ACTIVE."""
    try:
        cloud = connect(options)
    except KilonovaError as error:
        print(f"kilonova bench: {error}")
        return 2
    session = requests.Session()
    before = {server["id"] for server in listed(session, cloud)}
    boots = _Boots(cloud, options)
    shares = [(options.servers + n) // options.concurrency for n in range(options.concurrency)]
    work = [(1, options.servers)] if options.one_request else [(share, 1) for share in shares]
    threads = [threading.Thread(target=boots.post, args=each) for each in work]
    used = Usage(options.only)
    began = time.monotonic()
    for thread in threads:
        thread.start()
    ended = boots.watch(threads)
    spent = Usage(options.only).since(used)
    ours = [server for server in listed(session, cloud) if server["id"] not in before]
    for server in ours:
        if server["status"] != "ACTIVE":
            boots.failed[server.get("fault", {}).get("message", server["status"])] += 1
    count = sum(server["status"] == "ACTIVE" for server in ours)
    _report(options, boots, (count, began, ended), spent)
    _report_list(session, cloud)
    if not options.keep:
        _delete(session, cloud, {server["id"] for server in ours})
    return 0 if not boots.failed and count >= options.servers else 1


def _percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _report(
    options: argparse.Namespace,
    boots: _Boots,
    outcome: tuple[int, float, float],
    spent: dict[str, float],
) -> None:
    count, began, ended = outcome
    waits = [
        boots.active[uuid] - start for uuid, start in boots.accepted.items() if uuid in boots.active
    ]
    post = [1e3 * _percentile(boots.latencies, percent) for percent in (50, 99)]
    active = " / ".join(f"{_percentile(waits, percent):.2f}" for percent in (50, 95, 99))
    rows = [
        ("servers", f"{count} of {options.servers} ACTIVE, concurrency {options.concurrency}"),
        ("accepted", f"{options.servers / (boots.asked_until - began):.1f} /s"),
        ("boots until all are ACTIVE", f"{count / (ended - began):.1f} /s"),
        ("POST p50 / p99", f"{post[0]:.1f} / {post[1]:.1f} ms"),
        ("ACTIVE p50 / p95 / p99", f"{active} s (seen every {_POLL} s)"),
    ]
    total = 0.0
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        if count and seconds:
            total += seconds
            rows.append((f"CPU {name}", f"{1e3 * seconds / count:.2f} ms a boot"))
    rows.append(("CPU in all", f"{1e3 * total / max(count, 1):.2f} ms a boot"))
    rows += [("failed", f"{number} x {why}") for why, number in boots.failed.items()]
    for name, value in rows:
        print(f"| {name:28} | {value} |")


def _report_list(session: requests.Session, cloud: Cloud) -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()
        count = len(listed(session, cloud))
        times.append(time.monotonic() - began)
    print(f"| {f'detail of {count} servers':28} | {1e3 * statistics.median(times):.1f} ms |")


def _delete(session: requests.Session, cloud: Cloud, uuids: set[str]) -> None:
    for uuid in uuids:
        session.delete(f"{cloud.compute}/servers/{uuid}", headers=_headers(cloud), timeout=60)
    deadline = time.monotonic() + _PATIENCE
    while left := uuids & {server["id"] for server in listed(session, cloud)}:
        if time.monotonic() > deadline:
            print(f"{len(left)} servers are still there")
            return
        time.sleep(_POLL)
