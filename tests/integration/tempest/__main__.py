"""Runs all of Tempest that asks something of a compute service, or what is named.

    python -m tests.integration.tempest [--workers N] [--newest] [REGEX]

``--newest`` lets it ask everything at the newest microversion that it knows, and not at the oldest that has
it. It exits with 1 if a test failed.
"""

import argparse
import sys

from tests.integration.tempest import cloud
from tests.integration.tempest.run import ALL, EXCLUDED, PASSED_ON, TOO_OLD, tempest


def main() -> int:
    """Start a cloud, run the tests, say what came of them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.tempest")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--newest", action="store_true")
    parser.add_argument("regex", nargs="?", default=ALL)
    asked = parser.parse_args()
    deployment = cloud.describe(has_volumes=True)
    try:
        deployment.start()
        configuration = cloud.prepare(deployment, cloud.NEWEST if asked.newest else cloud.OLDEST)
        excluded = [EXCLUDED, TOO_OLD if asked.newest else PASSED_ON]
        outcome = tempest(configuration, ["--regex", asked.regex], excluded, asked.workers)
    finally:
        deployment.stop()
    for name, reason in sorted(outcome.skipped.items()):
        print(f"skip   {name}: {reason}")
    for name, told in sorted(outcome.failed.items()):
        print(f"FAILED {name}\n{told}")
    print(outcome)
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
