"""``kilonova desired``: so many servers, of which the cloud keeps exactly one running at each index."""

import argparse
import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from kilonova.cli.cloud import Cloud
from kilonova.cli.named import flavor_id, image_id, pairs
from kilonova.cli.shown import CloudCommand, CloudList, Told
from kilonova.core.errors import Invalid
from kilonova.core.server_group import Policy


def _root(where: Cloud) -> str:
    return f"{where.own}/desired"


def _one(where: Cloud, options: argparse.Namespace) -> str:
    return f"{_root(where)}/{quote(options.desired, safe='')}"


def _told(desired: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of desired servers, in the order in which it is read."""
    told = {name: value for name, value in desired.items() if name not in ("servers", "replace")}
    for name in ("flavor", "image"):
        if told.get(name):
            told[name] = Told(told[name], told[name]["name"] or told[name]["id"])
    if "servers" in desired:
        replace, servers = desired["replace"], desired["servers"]
        told["replace"] = Told(replace, _replace_line(replace) if replace else "")
        told["servers"] = Told(servers, "\n".join(_server_line(one) for one in servers))
    return told


def _replace_line(replace: Mapping[str, Any]) -> str:
    stopped = f"; stopped by {replace['stopped_by']}" if replace["stopped_by"] else ""
    return f"{replace['left']} of {replace['of']} are still as they were{stopped}"


def _server_line(server: Mapping[str, Any]) -> str:
    parts = [f"{server['index']}: {server['status']}", server["id"] or ""]
    if server["failures"]:
        parts.append(f"(failed {server['failures']} times: {server['reason']})")
    elif server["reason"]:
        parts.append(f"({server['reason']})")
    if server["next_start_after"]:
        parts.append(f"next start after {server['next_start_after']}")
    return " ".join(part for part in parts if part)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("desired", metavar="NAME|ID", help="what they are called, or their id")


class DesiredCreate(CloudCommand):
    """Desire servers. They are made by and by; 'kilonova desired show' says how far that is."""

    name = "desired create"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the servers are."""
        parser.add_argument("desired", metavar="NAME", help="servers are called NAME-0, NAME-1 ...")
        parser.add_argument("--count", type=int, required=True, metavar="N", help="how many")
        parser.add_argument("--flavor", required=True, help="a flavor's name or id")
        parser.add_argument("--image", required=True, help="an image's name or id")
        parser.add_argument(
            "--group-policy",
            choices=[policy.value for policy in Policy],
            help="how they stand to each other; a server group is made for them",
        )
        parser.add_argument(
            "--nic", choices=("auto", "none"), default="auto", help="their networks (%(default)s)"
        )
        parser.add_argument("--key-name", help="a key pair of the user's")
        parser.add_argument("--user-data", type=Path, metavar="FILE", help="what their guests read")
        parser.add_argument("--availability-zone", metavar="ZONE", help="where they are to be")
        parser.add_argument(
            "--property", action="append", default=[], metavar="KEY=VALUE", help="their metadata"
        )

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return what was written."""
        desired = {"name": options.desired, "count": options.count}
        if options.group_policy:
            desired["group_policy"] = options.group_policy
        body = {"desired": desired, "server": _server(where, options)}
        return _told(where.ask("POST", _root(where), body)["desired"])


def _server(where: Cloud, options: argparse.Namespace) -> dict[str, Any]:
    server: dict[str, Any] = {
        "flavorRef": flavor_id(where, options.flavor),
        "imageRef": image_id(where, options.image),
        "networks": options.nic,
        "metadata": dict(pairs(options.property, "--property")),
    }
    for name in ("key_name", "availability_zone"):
        if (value := getattr(options, name)) is not None:
            server[name] = value
    if options.user_data is not None:
        try:
            server["user_data"] = base64.b64encode(options.user_data.read_bytes()).decode()
        except OSError as error:
            raise Invalid(f"--user-data: {error}") from error
    return server


class DesiredList(CloudList):
    """The desired servers of the project."""

    name = "desired list"
    columns = ("ID", "Name", "Count", "Started", "Generation", "Deleting")

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add whose."""
        parser.add_argument(
            "--all-projects", action="store_true", help="those of all (administrators)"
        )

    def rows(self, where: Cloud, options: argparse.Namespace) -> Iterable[tuple[Any, ...]]:
        """Yield them, in order of their ids."""
        query = {"all_projects": "1"} if options.all_projects else {}
        while True:
            told = where.ask("GET", f"{_root(where)}?{urlencode(query)}")
            for one in told["desired"]:
                yield tuple(one[name.lower()] for name in self.columns)
            if "next_marker" not in told:
                return
            query["marker"] = told["next_marker"]


class DesiredShow(CloudCommand):
    """How desired servers are: each index, what went wrong there, and how far a replace is."""

    name = "desired show"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add which."""
        _add_name(parser)

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return them."""
        return _told(where.ask("GET", _one(where, options))["desired"])


class DesiredScale(CloudCommand):
    """Desire more or fewer. Fewer are without the highest indexes."""

    name = "desired scale"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add which, and how many."""
        _add_name(parser)
        parser.add_argument("count", type=int, metavar="N", help="how many there are to be")

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return them as they are now."""
        body = {"desired": {"count": options.count}}
        return _told(where.ask("PUT", _one(where, options), body)["desired"])


class DesiredReplace(CloudCommand):
    """Replace them, a quarter at a time, by new ones, of another flavor or image or just anew."""

    name = "desired replace"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add which, and what they are to be."""
        _add_name(parser)
        parser.add_argument("--flavor", help="a flavor's name or id")
        parser.add_argument("--image", help="an image's name or id")

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return them as they are now."""
        server = {}
        if options.flavor is not None:
            server["flavorRef"] = flavor_id(where, options.flavor)
        if options.image is not None:
            server["imageRef"] = image_id(where, options.image)
        return _told(where.ask("PUT", _one(where, options), {"server": server})["desired"])


class DesiredDelete(CloudCommand):
    """Desire them no more: their servers are deleted, and then they are forgotten."""

    name = "desired delete"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add which."""
        _add_name(parser)

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return what was asked, as there may be nothing else to show already."""
        where.ask("DELETE", _one(where, options))
        return {"name": options.desired, "deleting": True}


COMMANDS: tuple[tuple[type[CloudCommand] | type[CloudList], str], ...] = (
    (DesiredCreate, "so many servers, of which one is to run at each index"),
    (DesiredList, "which are desired"),
    (DesiredShow, "how each of them is"),
    (DesiredScale, "more or fewer"),
    (DesiredReplace, "others in their places, by and by"),
    (DesiredDelete, "none any more"),
)
"""Each command with what it is for."""
