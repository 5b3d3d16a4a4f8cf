"""The placement benchmark: candidates and claims over fleets of up to 100,000 providers.

Serves kilonova's Placement on a database of its own (``--connection``; without it, SQLite), fills that in
bulk, and asks over HTTP. ``--peer URL`` measures another Placement service (with noauth2) in the same run,
filled through its API, and prints how many times as long it takes. Let both use one database server.
"""

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from falcon import testing
from sqlalchemy import event

from kilonova.core import settings
from kilonova.db.engine import Database
from kilonova.db.migrate import upgrade
from kilonova.db.placement_schema import Provider
from kilonova.placement import wsgi
from tests.performance import placement_fleet as fleet

_HEADERS = {
    "X-Auth-Token": "admin",
    "OpenStack-API-Version": "placement 1.36",
    "Accept": "application/json",
    "Content-Type": "application/json",
}
_FLAT = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512,DISK_GB:10"
_PATIENCE = 60.0
"""Seconds that one answer is waited for."""
_CLAIM_SECONDS = 5.0


class Service:
    """A Placement service at a URL; each thread has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._local = threading.local()

    def raw(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        Raises:
            TimeoutError: there was none in time.
        """
        used = getattr(self._local, "connection", None)
        if used is not None:
            try:
                return self._exchange(used, method, path, body)
            except (ConnectionError, http.client.RemoteDisconnected):
                # The server closes what was idle for a while.
                pass
        connection = http.client.HTTPConnection(*self._address, timeout=_PATIENCE)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._exchange(connection, method, path, body)

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        self._local.connection = None
        connection.request(method, self._prefix + path, body, _HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        self._local.connection = connection
        return answer.status, content

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what is answered, which must be a success."""
        data = None if body is None else json.dumps(body).encode()
        status, content = self.raw(method, path, data)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {content[:300]!r}")
        return json.loads(content) if content else None


class Table:
    """Rows of a Markdown table: what was measured, here and at the peer, and their ratio."""

    def __init__(self, *, peer: bool) -> None:
        self._peer = peer
        names = ["", "kilonova", *(["peer", "ratio"] if peer else [])]
        print("| " + " | ".join(names) + " |")
        print("|" + " --- |" * len(names), flush=True)

    def row(self, what: str, ours: float | str, peers: float | str = "", unit: str = "ms") -> None:
        """Print a row. Two numbers get a ratio."""
        cells = [what, _shown(ours, unit)]
        if self._peer:
            ratio = ""
            if isinstance(ours, float) and isinstance(peers, float) and ours and peers:
                slower = peers / ours if unit == "ms" else ours / peers
                ratio = f"{slower:.1f}"
            cells += [_shown(peers, unit), ratio]
        print("| " + " | ".join(cells) + " |", flush=True)


def _shown(value: float | str, unit: str) -> str:
    return value if isinstance(value, str) else f"{value:,.1f} {unit}"


def latency(service: Service, path: str, least: int = 0) -> float | str:
    """Return the median milliseconds of an answer with at least so many candidates; or how it fails."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) < 21 and (len(times) < 3 or time.monotonic() - began < 10):
        start = time.perf_counter()
        try:
            status, content = service.raw("GET", path)
        except TimeoutError:
            return f"none in {_PATIENCE:.0f} s"
        times.append(time.perf_counter() - start)
        if status != 200:
            raise SystemExit(f"{path}: {status} {content[:300]!r}")
        found = len(json.loads(content)["allocation_requests"])
        if found < least:
            raise SystemExit(f"{path}: {found} candidates, not {least}")
    # The first one fills caches.
    return 1e3 * statistics.median(times[1:])


def claims(service: Service, clients: int, providers: Sequence[str]) -> float:
    """Return claims per second by some clients at once, on providers taken at random."""
    counts: list[int] = []
    ends = time.monotonic() + _CLAIM_SECONDS

    def work() -> None:
        done = 0
        while time.monotonic() < ends:
            body = claim(random.choice(providers))
            status, content = service.raw("PUT", f"/allocations/{fleet.uuid()}", body)
            if status not in {204, 409}:
                raise SystemExit(f"claim: {status} {content[:300]!r}")
            done += status == 204
        counts.append(done)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def claim(provider: str) -> bytes:
    """Return the body of a claim of two classes on a provider."""
    body = {
        "allocations": {provider: {"resources": {"VCPU": 1, "MEMORY_MB": 1}}},
        "project_id": "bench",
        "user_id": "bench",
        "consumer_generation": None,
    }
    return json.dumps(body).encode()


def groups(count: int) -> str:
    """Return a request of some groups of one virtual function each."""
    names = "&".join(f"resources{n}=SRIOV_NET_VF:1" for n in range(1, count + 1))
    return f"/allocation_candidates?limit=10&group_policy=none&{names}"


class Bench:
    """One run: kilonova's service and its database, and perhaps a peer."""

    def __init__(self, ours: Service, database: Database, peer: Service | None) -> None:
        self._ours = ours
        self._database = database
        self._peer = peer

    def _refill(self, nodes: Iterator[fleet.Node]) -> list[str]:
        fleet.wipe(self._database)
        return fleet.fill(self._database, nodes)

    def _peers(self, path: str, least: int = 0) -> float | str:
        return latency(self._peer, path, least) if self._peer else ""

    def _fill_peer(self, nodes: Iterator[fleet.Node]) -> list[str]:
        return fleet.fill_by_api(self._peer.ask, nodes) if self._peer else []

    def flat(self, sizes: Sequence[int], peer_most: int) -> None:
        """Measure fleets of like hosts. The peer's grows from size to size."""
        print("\n### Candidates in a flat fleet, 3 classes\n")
        table = Table(peer=bool(self._peer))
        filled = 0
        for size in sizes:
            peers: tuple[float | str, float | str] = ("", "")
            if self._peer and size <= peer_most:
                self._fill_peer(fleet.flat(size - filled))
                filled = size
                peers = self._peers(f"{_FLAT}&limit=10", 10), self._peers(_FLAT, size)
            for share, least in ((1.0, 10), (0.01, 1), (0.0, 0)):
                self._refill(fleet.flat(size, with_room=share))
                ours = latency(self._ours, f"{_FLAT}&limit=10", least)
                what = f"{size:,} providers, limit=10, {share:.0%} have room"
                table.row(what, ours, peers[0] if share == 1.0 else "")
                if share == 1.0 and size <= 10_000:
                    table.row(
                        f"{size:,} providers, no limit", latency(self._ours, _FLAT, size), peers[1]
                    )

    def nested(self, counts: Sequence[int], peer_most: int) -> None:
        """Measure granular groups in a tree whose product is large."""
        print("\n### Candidates in a tree: 1 root, 8 children of one unit, limit=10\n")
        table = Table(peer=bool(self._peer))
        self._refill(fleet.tree(8))
        self._fill_peer(fleet.tree(8))
        for count in counts:
            least = 10 if count <= 8 else 0
            peers = self._peers(groups(count), least) if count <= peer_most else "not asked"
            table.row(f"{count} groups", latency(self._ours, groups(count), least), peers)

    def sharing(self) -> None:
        """Measure hosts that take their disk from storage pools."""
        print("\n### Candidates of 1,000 roots and 20 sharing providers, one group, limit=10\n")
        table = Table(peer=bool(self._peer))
        self._refill(fleet.sharing(1000, 20))
        self._fill_peer(fleet.sharing(1000, 20))
        path = f"{_FLAT}&limit=10"
        table.row("3 classes", latency(self._ours, path, 10), self._peers(path, 10))

    def claims(self, clients: Sequence[int]) -> None:
        """Measure claims of two classes, on many providers and on one."""
        print("\n### Claims of 2 classes on one provider each\n")
        table = Table(peer=bool(self._peer))
        one = {"VCPU": (10**9, 0), "MEMORY_MB": (10**9, 0)}
        here = self._refill(fleet.flat(1000))
        there = self._fill_peer(fleet.flat(1000))
        for what, ours, peers in (
            ("1,000 providers", here, there),
            (
                "one provider",
                fleet.fill(self._database, iter([fleet.Node(fleet.uuid(), one)])),
                self._fill_peer(iter([fleet.Node(fleet.uuid(), one)])),
            ),
        ):
            for count in clients:
                rate = claims(self._peer, count, peers) if self._peer else ""
                done = claims(self._ours, count, ours)
                table.row(f"{what}, {count} clients", done, rate, "/s")
        print(f"\nStatements of a claim: {self._statements(here[0])}.")

    def _statements(self, provider: str) -> int:
        """Count what one claim sends to the database, transactions' begin and commit left out."""
        seen: list[str] = []
        conf = settings.read_config([], prog="bench", default_files=())
        url = self._database.url.render_as_string(hide_password=False)
        conf.set_override("connection", url, "placement_database")
        conf.set_override("auth_strategy", "noauth2", "api")
        app = wsgi.build(conf)

        def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            if not statement.startswith(("BEGIN", "PRAGMA")):
                seen.append(statement)

        for _ in range(2):
            seen.clear()
            event.listen(sa.Engine, "before_cursor_execute", count)
            body = claim(provider)
            answer = testing.simulate_put(
                app, f"/allocations/{fleet.uuid()}", body=body, headers=_HEADERS
            )
            event.remove(sa.Engine, "before_cursor_execute", count)
            if answer.status_code != 204:
                raise SystemExit(f"claim: {answer.status} {answer.text}")
        return len(seen)


@contextmanager
def served(connection: str, scratch: Path, workers: int) -> Iterator[Service]:
    """Serve kilonova's Placement on a database for as long as the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = scratch / "placement.conf"
    config.write_text(
        f"[api]\nauth_strategy = noauth2\n[placement_database]\nconnection = {connection}\n"
        f"[placement_api]\nbind_port = {port}\nworkers = {workers}\n"
    )
    program = "from kilonova.cli.placement import main; main()"
    process = subprocess.Popen([sys.executable, "-c", program, "--config-file", str(config)])
    service = Service(f"http://127.0.0.1:{port}")
    try:
        while True:
            try:
                service.ask("GET", "/")
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("kilonova-placement did not start") from None
                time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connection", help="SQLAlchemy URL of an empty database")
    parser.add_argument(
        "--peer", metavar="URL", help="another Placement service, without providers"
    )
    parser.add_argument("--peer-providers", type=int, default=10_000, metavar="N")
    parser.add_argument("--peer-groups", type=int, default=5, metavar="N", help="asked at most")
    parser.add_argument(
        "--providers", type=int, nargs="*", default=[1_000, 10_000, 100_000], metavar="N"
    )
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32], metavar="N")
    parser.add_argument("--workers", type=int, default=2, help="processes that serve kilonova's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        connection = options.connection or f"sqlite:///{scratch / 'placement.sqlite'}"
        database = Database(connection)
        upgrade(database, "placement")
        with database.read() as reader:
            if reader.execute(sa.select(Provider.uuid).limit(1)).first():
                raise SystemExit("The database has providers; this benchmark would remove them.")
        with served(connection, scratch, options.workers) as ours:
            bench = Bench(ours, database, Service(options.peer) if options.peer else None)
            print(f"{database.url.get_backend_name()}, {os.cpu_count()} cores")
            bench.flat(options.providers, options.peer_providers)
            bench.claims(options.clients)
            bench.nested([4, 5, 6, 8, 9], options.peer_groups)
            bench.sharing()
        fleet.wipe(database)
        database.dispose()


if __name__ == "__main__":
    main()
