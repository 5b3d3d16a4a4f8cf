"""A scheduler in a process of its own, which chooses for servers as fast as it can and tells what it chose.

    python -m tests.functional.scheduler.chooser CONFIGURATION NAME SERVERS

prints ``ready``, waits for a line, chooses for so many servers in batches of many sizes, and prints a JSON
list of ``Chosen``.
"""

import random
import sys
import uuid

import msgspec

from kilonova.core import settings
from kilonova.core.context import service_context
from kilonova.core.ids import InstanceUuid
from kilonova.core.scheduling import RequestSpec
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement import client
from kilonova.rpc.messages import SelectDestinations
from kilonova.scheduler.hosts import Hosts
from kilonova.scheduler.neighbours import Neighbours
from kilonova.scheduler.selection import Selection
from tests.unit.scheduler.fleet import flavor, spec

BATCHES = (1, 1, 2, 5, 20, 50)


class Chosen(msgspec.Struct, frozen=True):
    """A server, its host's provider or None, and why there is none."""

    server: str
    provider: str | None
    sentence: str


def small() -> RequestSpec:
    """Return a request for a server of 1 VCPU, 512 MiB and 1 GiB."""
    return spec(flavor=flavor(root_gb=1))


def main() -> None:
    """Choose."""
    file, name, servers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    conf = settings.read_config(["--config-file", file], prog="chooser")
    api_db = Database(conf.api_database.connection)
    cells = Cells(api_db)
    hosts = Hosts(conf, api_db, cells)
    hosts.start()
    selection = Selection(conf, hosts, client.load(conf), Neighbours(api_db, cells))
    chance = random.Random(name)
    print("ready", flush=True)
    sys.stdin.readline()
    chosen: list[Chosen] = []
    while len(chosen) < servers:
        batch = min(chance.choice(BATCHES), servers - len(chosen))
        wanted = tuple(
            InstanceUuid(str(uuid.UUID(int=chance.getrandbits(128), version=4)))
            for _ in range(batch)
        )
        message = SelectDestinations(spec=small(), instance_uuids=wanted)
        answer = selection.select_destinations(service_context(), message)
        for one in answer.decisions:
            provider = one.destination.provider_uuid if one.destination else None
            sentence = one.no_host.sentence() if one.no_host else ""
            chosen.append(Chosen(one.instance_uuid, provider, sentence))
    print(msgspec.json.encode(chosen).decode(), flush=True)
    hosts.stop()


if __name__ == "__main__":
    main()
