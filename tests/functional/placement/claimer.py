"""A process that claims and frees as fast as it can, and says what it does before and after it.

    python -m tests.functional.placement.claimer URL SEED TURNS PROVIDER...

prints a line ``claim CONSUMER`` or ``free CONSUMER`` before each change, and then ``done``, or ``refused``.
"""

import random
import sys
import uuid

from kilonova.core.errors import NoCapacity
from kilonova.db.engine import Database
from kilonova.db.placement_claims import Claim, free, replace_all


def main() -> None:
    """Claim on one or two of the providers, and free some of what was claimed."""
    url, seed, turns, *providers = sys.argv[1:]
    chance = random.Random(int(seed))
    database = Database(url)
    mine: list[str] = []
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(turns)):
        if mine and chance.random() < 0.4:
            consumer = mine.pop(chance.randrange(len(mine)))
            print("free", consumer, flush=True)
            free(database, [consumer])
            print("done", flush=True)
            continue
        consumer = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        chosen = chance.sample(providers, chance.choice((1, 2)))
        allocation = {p: {"VCPU": chance.randint(1, 3), "MEMORY_MB": 1} for p in chosen}
        print("claim", consumer, flush=True)
        try:
            replace_all(
                database,
                [Claim(consumer=consumer, project_id="p", user_id="u", allocation=allocation)],
            )
        except NoCapacity:
            print("refused", flush=True)
        else:
            mine.append(consumer)
            print("done", flush=True)


if __name__ == "__main__":
    main()
