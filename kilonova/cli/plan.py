"""``kilonova plan``: would these servers boot, where, and if not, why not. Nothing is made or claimed."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from kilonova.cli import decision_texts
from kilonova.cli.cloud import Cloud
from kilonova.cli.named import flavor_id, image_id, pairs
from kilonova.cli.shown import CloudCommand

_SOME_DO_NOT_FIT = 1


class Plan(CloudCommand):
    """Whether servers would find a host: exits 0 if all do, 1 if some do not, 255 on an error."""

    name = "plan"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the servers are."""
        parser.add_argument("--flavor", required=True, help="a flavor's name or id")
        parser.add_argument("--image", required=True, help="an image's name or id")
        parser.add_argument("--count", type=int, default=1, metavar="N", help="how many (1)")
        parser.add_argument(
            "--hint",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a scheduler hint; one that is repeated is a list",
        )
        parser.add_argument("--availability-zone", metavar="ZONE", help="ZONE, or ZONE:HOST:NODE")
        parser.add_argument("--host", help="the only host that will do")
        parser.add_argument("--hypervisor-hostname", metavar="NODE", help="the only node")
        parser.add_argument(
            "--property",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a server's metadata",
        )

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return the plan, and set the exit status by it."""
        plan = where.ask("POST", f"{where.own}/plans", _request(where, options))["plan"]
        if plan["placed"] < options.count:
            self.status = _SOME_DO_NOT_FIT
        return decision_texts.columns(plan)


def _request(where: Cloud, options: argparse.Namespace) -> dict[str, Any]:
    server: dict[str, Any] = {
        "flavorRef": flavor_id(where, options.flavor),
        "imageRef": image_id(where, options.image),
        "min_count": options.count,
        "metadata": dict(pairs(options.property, "--property")),
    }
    for name in ("availability_zone", "host", "hypervisor_hostname"):
        if (value := getattr(options, name)) is not None:
            server[name] = value
    return {"server": server, "os:scheduler_hints": _hints(options.hint)}


def _hints(words: Iterable[str]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for name, value in pairs(words, "--hint"):
        known = hints.get(name)
        hints[name] = (
            value if known is None else [*(known if isinstance(known, list) else [known]), value]
        )
    return hints
