"""``kilonova explain``: why a server is where it is, or why no host fits."""

import argparse
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kilonova.cli import decision_texts
from kilonova.cli.cloud import Cloud
from kilonova.cli.shown import CloudCommand, Told
from kilonova.core.errors import NotFound


class Explain(CloudCommand):
    """How the scheduler decided on a server, and where the time of its boot went."""

    name = "explain"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what is to be explained."""
        parser.add_argument(
            "what",
            metavar="SERVER|REQUEST-ID|DECISION",
            help="a server's UUID or name, the id of the request that asked for it, or a decision's id",
        )

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return the newest decision with the boot of the server that is meant, or for what that waits.

        Raises:
            NotFound: no decision about it is kept, and it does not wait for one.
        """
        found, server = _find(where, options.what)
        decision, *others = found
        if "because" in decision:
            return dict(decision)
        told = decision_texts.columns(decision)
        mine = next((one for one in decision["servers"] if one["id"] == server), None)
        events = _events(where, mine or decision["servers"][0])
        if events:
            told["boot"] = decision_texts.boot(events)
        if others:
            ids = [one["id"] for one in others]
            told["earlier"] = Told(ids, "\n".join(ids))
        return told


def _find(where: Cloud, what: str) -> tuple[list[Any], str | None]:
    """Return the decisions that are meant, newest first, and the server, if one is meant. Where there are
    none, what waits for one.
    """
    if what.startswith("req-"):
        return _listed(where, "request_id", what), None
    if not _is_uuid(what):
        server = _server_named(where, what)
        return _listed(where, "server", server), server
    try:
        return _listed(where, "server", what), what
    except NotFound as missing:
        try:
            return [where.ask("GET", f"{where.own}/decisions/{quote(what)}")["decision"]], None
        except NotFound:
            raise missing from None


def _listed(where: Cloud, name: str, value: str) -> list[Any]:
    told = where.ask("GET", f"{where.own}/decisions?{name}={quote(value)}")
    found: list[Any] = told["decisions"] or told["waiting"]
    if not found:
        raise NotFound(f"No decision about {value} is kept, and nothing of it waits for one.")
    return found


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _server_named(where: Cloud, name: str) -> str:
    exactly = quote(f"^{re.escape(name)}$")
    listed = where.ask("GET", f"{where.compute}/servers?all_tenants=1&name={exactly}")
    ids = [one["id"] for one in listed["servers"] if one["name"] == name]
    if not ids:
        raise NotFound(f"There is no server called {name}.")
    if len(ids) > 1:
        raise NotFound(
            f"{len(ids)} servers are called {name}; give the UUID of one: {', '.join(ids)}"
        )
    return str(ids[0])


def _events(where: Cloud, server: Mapping[str, Any]) -> list[Any]:
    """Return the events of the action that a decision was part of; none once the server is gone."""
    path = f"{where.compute}/servers/{server['id']}/os-instance-actions/{server['request_id']}"
    try:
        events: list[Any] = where.ask("GET", path)["instanceAction"]["events"]
    except NotFound:
        return []
    return events
