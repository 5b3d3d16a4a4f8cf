"""``kilonova instances``: the servers on hosts and, with ``--vitals``, how they are at this moment."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from kilonova.cli.cloud import Cloud, Refused
from kilonova.cli.shown import CloudList, Told
from kilonova.core.errors import NotFound

_POLLS = 0.2
"""Seconds between two looks at how far the task is."""
_BAR = 30
_PAGE = 10_000
_ENDED = ("done", "error", "cancelled")
_PLAIN = ("Server", "Name", "State", "Host", "Zone", "IPs", "Created")
_VITALS = (
    "Uptime",
    "Load",
    "CPU Total",
    "CPU User",
    "CPU Sys",
    "CPU Wait",
    "Memory Usage",
    "Swap Usage",
    "System Disk",
    "Ephemeral Disk",
    "Persistent Disk",
)
_SHARES = ("memory", "swap", "system_disk", "ephemeral_disk", "persistent_disk")


class Instances(CloudList):
    """The servers on hosts. With --vitals every host is asked how they are; what is unknown stays empty."""

    name = "instances"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add which servers, and whether hosts are asked."""
        parser.add_argument("--vitals", action="store_true", help="ask every host how they are")
        parser.add_argument("--host", help="those of a host only")
        parser.add_argument("--project", help="those of a project (its id) only")
        parser.add_argument(
            "--normal",
            action="store_true",
            help="wait behind other tasks (usually: go before them)",
        )

    def rows(self, where: Cloud, options: argparse.Namespace) -> Iterable[tuple[Any, ...]]:
        """Return a row for each server, in order of hosts and names.

        Raises:
            NotFound: there is no such host.
            Refused: the task did not come to its end.
        """
        if options.host is not None:
            _check_host(where, options.host)
        filters = {
            name: value
            for name, value in (("host", options.host), ("project", options.project))
            if value is not None
        }
        if not options.vitals:
            self.columns = _PLAIN
            return [_plain(one) for one in _in_order(_listed(where, filters))]
        self.columns = _PLAIN + _VITALS
        task = self._done(where, filters, "normal" if options.normal else "urgent")
        for what, names in (("hosts", task["not_answering"]), ("cells", task["silent"])):
            if names:
                self.status = 1
                print(f"These {what} do not answer: {', '.join(names)}", file=sys.stderr)
        lines = where.lines(f"{where.own}/tasks/{task['id']}/result")
        return [_plain(one) + _vitals(one) for one in _in_order(lines)]

    def _done(self, where: Cloud, filters: Mapping[str, str], queue: str) -> Any:
        """Start the task and wait until it is done; return it."""
        wanted = {"kind": "vitals", "queue": queue, "filters": filters}
        task = where.ask("POST", f"{where.own}/tasks", {"task": wanted})["task"]
        place = f"{where.own}/tasks/{task['id']}"
        try:
            while task["state"] not in _ENDED:
                _show_progress(task)
                time.sleep(_POLLS)
                task = where.ask("GET", place)["task"]
        except KeyboardInterrupt:
            where.ask("DELETE", place)
            raise
        finally:
            _show_progress(None)
        if task["state"] != "done":
            raise Refused(
                f"Task {task['id']} is {task['state']}: {task['reason'] or 'by somebody'}"
            )
        return task


def _check_host(where: Cloud, host: str) -> None:
    query = urlencode({"host": host, "binary": "nova-compute"})
    if not where.ask("GET", f"{where.compute}/os-services?{query}")["services"]:
        raise NotFound(f"There is no compute host called {host}.")


def _show_progress(task: Mapping[str, Any] | None) -> None:
    """Draw how far a task is where somebody looks; without one, wipe it out."""
    if not sys.stderr.isatty():
        return
    text = "" if task is None else bar(task["state"], task["answered"], task["asked"])
    print(f"\r{text:<{_BAR + 40}}\r{text}", end="", file=sys.stderr, flush=True)


def bar(state: str, answered: int, asked: int) -> str:
    """Return how far a task is, as a line of text."""
    full = _BAR * answered // asked if asked else 0
    return f"[{'#' * full}{' ' * (_BAR - full)}] {state}, {answered} of {asked} hosts"


def _listed(where: Cloud, filters: Mapping[str, str]) -> Iterator[Any]:
    query = {**filters, "limit": str(_PAGE)}
    while True:
        page = where.ask("GET", f"{where.own}/vitals?{urlencode(query)}")
        yield from page["vitals"]
        if "next_marker" not in page:
            return
        query["marker"] = page["next_marker"]


def _in_order(lines: Iterable[Any]) -> list[Any]:
    return sorted(lines, key=lambda one: (one["host"], one["name"], one["id"]))


def _plain(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one["id"],
        one["name"],
        one["status"],
        one["host"],
        one["availability_zone"] or "",
        Told(one["addresses"], ", ".join(one["addresses"])),
        one["created_at"],
    )


def _vitals(one: Mapping[str, Any]) -> tuple[Any, ...]:
    cpu = one["cpu"] or {}
    percents = (cpu.get(name) for name in ("total", "user", "system", "wait"))
    return (
        Told(one["uptime"], "" if one["uptime"] is None else span(one["uptime"])),
        Told(one["load"], ", ".join(f"{load:.2f}" for load in one["load"] or ())),
        *(Told(part, "" if part is None else f"{part:.1f}%") for part in percents),
        *(Told(one[name], share(one[name])) for name in _SHARES),
    )


def span(seconds: int) -> str:
    """Return a number of seconds as people say it: 1d 2h 3m 4s."""
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join([*parts, f"{seconds}s"])


def share(told: Mapping[str, int] | None) -> str:
    """Return how much is used of how much (MiB), in percent and in the unit that fits."""
    if told is None:
        return ""
    used, size = told["used"], told["size"]
    amount = f"{used} MiB" if used < 10_240 else f"{used / 1024:.1f} GiB"
    return f"{100 * used // size}% ({amount})" if size else f"({amount})"
