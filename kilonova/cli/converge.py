"""``kilonova converge``: one round of the converger, told as a table.

Exits with 0 if nothing differs any more, 1 if something does (with ``--dry-run``: whatever was found), and
2 if something could not be looked at.
"""

import argparse
from collections.abc import Sequence

from oslo_config import cfg

from kilonova.cli.service import configure, required
from kilonova.conductor.converger import Outcome, Round, scene_of
from kilonova.conductor.fencing import Fencer
from kilonova.conductor.notices import Notices
from kilonova.conductor.repairs import Hands
from kilonova.core.context import service_context
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.placement import client
from kilonova.rpc.connect import Buses
from kilonova.rpc.messages import BuildServers, Message
from kilonova.rpc.notifications import notifier

_PROG = "kilonova converge"
_TITLES = ("REPAIR", "CELL", "SUBJECT", "WHAT DIFFERS", "WHAT WAS DONE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", required=True, help="one round, and the end")
    parser.add_argument("--dry-run", action="store_true", help="only say what differs")
    parser.add_argument("--config-file", action="append", default=[])


def run(options: argparse.Namespace) -> int:
    """Compare everything once, and mend what differs."""
    files = [word for name in options.config_file for word in ("--config-file", name)]
    conf = configure(files, _PROG)
    outcomes = converge(conf, dry_run=options.dry_run)
    print(table(outcomes), end="")
    return status(outcomes)


def converge(conf: cfg.ConfigOpts, *, dry_run: bool) -> list[Outcome]:
    """Make one round over everything, beside the converger that leads: no repair does harm twice."""
    connection = required(conf.api_database.connection, "[api_database] connection", _PROG)
    api_db, buses, heard = Database(connection), Buses(conf), notifier.load(conf)

    def send(message: Message) -> None:
        buses.default().cast(service_context(), message)

    cells = Cells(api_db)
    hands = Hands(
        drive=lambda uuids: send(BuildServers(instance_uuids=uuids)),
        move=send,
        run=send,
        fence=Fencer(conf.ha.fence_command, cells).ask,
    )
    collaborators = (api_db, cells, buses, client.load(conf))
    scene = scene_of(conf, collaborators, Notices(heard, conf.host), hands)
    one = Round(scene, lambda: not dry_run)
    one.of_everything()
    heard.close()
    return one.outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes as lines of columns, and how many there are."""
    rows = [_TITLES, *(_row(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = []
    if outcomes:
        for row in rows:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
    mended = sum(outcome.did is not None for outcome in outcomes)
    failed = sum(outcome.failed is not None for outcome in outcomes)
    lines.append(f"{len(outcomes)} differ, {mended} mended, {failed} failed")
    return "".join(f"{line}\n" for line in lines)


def _row(outcome: Outcome) -> tuple[str, ...]:
    done = f"FAILED: {outcome.failed}" if outcome.failed is not None else outcome.did or "nothing"
    return (outcome.repair, outcome.cell or "-", outcome.subject or "-", outcome.differs, done)


def status(outcomes: Sequence[Outcome]) -> int:
    """Return the exit status."""
    if any(outcome.failed is not None and not outcome.subject for outcome in outcomes):
        return 2
    return 1 if any(outcome.did is None for outcome in outcomes) else 0
