"""``kilonova plan``: would these servers boot, where, and if not, why not. Nothing is made or claimed."""

import argparse
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from kilonova.cli import decision_texts
from kilonova.cli.cloud import Cloud
from kilonova.cli.shown import CloudCommand
from kilonova.core.errors import Invalid

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
        "flavorRef": _flavor(where, options.flavor),
        "imageRef": _image(where, options.image),
        "min_count": options.count,
        "metadata": dict(_pairs(options.property, "--property")),
    }
    for name in ("availability_zone", "host", "hypervisor_hostname"):
        if (value := getattr(options, name)) is not None:
            server[name] = value
    return {"server": server, "os:scheduler_hints": _hints(options.hint)}


def _pairs(words: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise Invalid(f"{option} {word}: it must be KEY=VALUE")
        yield name, value


def _hints(words: Iterable[str]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for name, value in _pairs(words, "--hint"):
        known = hints.get(name)
        hints[name] = (
            value if known is None else [*(known if isinstance(known, list) else [known]), value]
        )
    return hints


def _flavor(where: Cloud, wanted: str) -> str:
    """Return the id of a flavor that has this id or, if none has, this name."""
    flavors = where.ask("GET", f"{where.compute}/flavors")["flavors"]
    for key in ("id", "name"):
        for flavor in flavors:
            if flavor[key] == wanted:
                return str(flavor["id"])
    # A private flavor is not in the list; the API says whether there is one.
    return wanted


def _image(where: Cloud, wanted: str) -> str:
    try:
        return str(uuid.UUID(wanted))
    except ValueError:
        listed = where.ask("GET", f"{where.image()}/images?name={quote(wanted)}")
    ids = [str(image["id"]) for image in listed["images"]]
    if not ids:
        raise Invalid(f"There is no image called {wanted}.")
    if len(ids) > 1:
        raise Invalid(
            f"{len(ids)} images are called {wanted}; give the id of one: {', '.join(ids)}"
        )
    return ids[0]
