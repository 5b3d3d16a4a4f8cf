"""What each parameter of a list of servers chooses, for whom, and from which microversion on.

What should be found is said of the servers as they were written, not as the API reads them.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from kilonova.core.ids import FlavorId, HostName, ImageId, InstanceUuid, NodeName
from kilonova.core.image import Image
from kilonova.core.instance import Instance, KeyPair, Wishes
from kilonova.core.states import PowerState, TaskState, VmState
from tests.functional.api.api_case import ADMIN, ANN, CELL
from tests.functional.api.cells_case import CELL2, CELL3, CellsCase
from tests.functional.db.api_database import NOW, flavor

NEWEST = "2.104"
FIRST = "2.1"
SECOND = timedelta(seconds=1)
OTHER_IMAGE = ImageId("dddddddd-0000-4000-8000-000000000002")

STATUS = {
    VmState.ACTIVE: "ACTIVE",
    VmState.BUILDING: "BUILD",
    VmState.STOPPED: "SHUTOFF",
    VmState.RESIZED: "VERIFY_RESIZE",
    VmState.PAUSED: "PAUSED",
    VmState.SUSPENDED: "SUSPENDED",
    VmState.RESCUED: "RESCUE",
    VmState.ERROR: "ERROR",
    VmState.SHELVED: "SHELVED",
    VmState.SHELVED_OFFLOADED: "SHELVED_OFFLOADED",
}
"""Of a server with which nothing is under way (contract of the Compute API, server states)."""

_RESIZE = ("resize_prep", "resize_migrating", "resize_migrated", "resize_finish")
_REBUILD = ("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning")
BUSY = {
    (VmState.ACTIVE, "rebooting"): "REBOOT",
    (VmState.ACTIVE, "rebooting_hard"): "HARD_REBOOT",
    (VmState.ACTIVE, "updating_password"): "PASSWORD",
    (VmState.ACTIVE, "migrating"): "MIGRATING",
    (VmState.PAUSED, "migrating"): "MIGRATING",
    (VmState.RESIZED, "resize_reverting"): "REVERT_RESIZE",
    **{(vm, task): "RESIZE" for vm in (VmState.ACTIVE, VmState.STOPPED) for task in _RESIZE},
    **{
        (vm, task): "REBUILD"
        for vm in (VmState.ACTIVE, VmState.STOPPED, VmState.ERROR)
        for task in _REBUILD
    },
}
"""What shows as something else while a task is under way."""

TASKS = (
    "rebooting", "rebooting_hard", "updating_password", "migrating", "resize_reverting", *_RESIZE,
    *_REBUILD, "powering-off", "deleting",
)  # fmt: skip


class ListsCase(CellsCase):
    """Servers in three cells."""

    def options(self) -> str:
        """Let no cell be left out, however busy the machine is."""
        return "[api]\ncell_timeout = 120\n"

    def added(self, **changed: Any) -> Instance:
        """Write a server into one cell after another."""
        self.count = getattr(self, "count", -1) + 1
        settled = {"vm_state": VmState.ACTIVE, "task_state": None, "updated_at": NOW}
        return self.add((CELL, CELL2, CELL3)[self.count % 3], **settled | changed)

    def found(self, query: str, version: str = NEWEST, token: str = ANN) -> set[str]:
        """Return the UUIDs of the servers that a list names, of both lists."""
        how = {"version": version, "token": token}
        brief, detailed = (
            {server["id"] for server in self.asked(200, "GET", path, **how)["servers"]}
            for path in (f"/servers?{query}", f"/servers/detail?{query}")
        )
        self.assertEqual(brief, detailed, query)
        return brief

    def of(self, servers: Iterable[Instance], fits: Callable[[Instance], bool]) -> set[str]:
        """Return the UUIDs of those servers that fit."""
        return {str(server.uuid) for server in servers if fits(server)}


class StatusTest(ListsCase):
    """``status``: of each state, with each task."""

    def test_a_status_finds_what_shows_it_and_nothing_else(self) -> None:
        states = [(vm, task) for vm in STATUS for task in (None, *TASKS)]
        shows: dict[str, set[str]] = {}
        for vm, task in states:
            state = TaskState(task) if task else None
            server = self.added(vm_state=vm, task_state=state, launched_at=NOW)
            shown = BUSY.get((vm, task or ""), STATUS[vm])
            shows.setdefault(shown, set()).add(str(server.uuid))
        listed = self.asked(200, "GET", "/servers/detail", token=ANN)["servers"]
        for status, servers in shows.items():
            self.assertEqual(servers, {s["id"] for s in listed if s["status"] == status}, status)
            self.assertEqual(servers, self.found(f"status={status.lower()}"), status)
        both = shows["REBOOT"] | shows["PASSWORD"]
        self.assertEqual(both, self.found("status=REBOOT&status=PASSWORD"))
        self.assertEqual(set(), self.found("status=UNKNOWN", "2.37"))
        self.refused(400, "status", "GET", "/servers?status=UNKNOWN", version="2.38", token=ANN)


class FiltersTest(ListsCase):
    """Servers that differ in everything that is filtered by."""

    def setUp(self) -> None:
        super().setUp()
        key = KeyPair(name="k1", kind="ssh", fingerprint="", public_key="")
        image = Image(image_id=OTHER_IMAGE, name="other", status="active")
        self.servers = [
            self.added(name="plain"),
            self.added(name="Web-1", hostname="web", locked_by="owner", updated_at=NOW + SECOND),
            self.added(
                name="web-2",
                flavor=flavor(flavor_id=FlavorId("2")),
                image=image,
                created_at=NOW + SECOND,
                launched_at=NOW + SECOND,
                availability_zone="z1",
                host=HostName("h1"),
                node=NodeName("h1.example"),
                description="one",
                root_device_name="/dev/vda",
                access_ipv4="192.0.2.7",
                access_ipv6="2001:db8::7",
            ),
            self.added(
                name="db",
                vm_state=VmState.STOPPED,
                task_state=TaskState.POWERING_ON,
                power_state=PowerState.SHUTDOWN,
                progress=50,
                user_id="bob",
                wishes=Wishes(key_pair=key, config_drive=True, reservation_id="r-1"),
            ),
        ]
        self.gone = self.added(name="gone", deleted=True, terminated_at=NOW + SECOND)
        self.others = self.added(name="others", project_id="project-b", user_id="bob")

    def _filters(self) -> list[tuple[str, str, Any, str | None]]:
        """Return (parameter, text, what fits, the first version that hears owners; None: none does)."""
        soon = quote((NOW + SECOND).isoformat())

        def has(name: str, *values: object) -> Callable[[Instance], bool]:
            return lambda server: getattr(server, name) in values

        return [
            ("reservation_id", "r-1", lambda s: s.wishes.reservation_id == "r-1", FIRST),
            ("image", OTHER_IMAGE, lambda s: s.image is not None, FIRST),
            ("flavor", "2", lambda s: s.flavor.flavor_id == "2", FIRST),
            ("name", "eb-", has("name", "Web-1", "web-2"), FIRST),
            ("name", quote("^w|b$"), has("name", "web-2", "db"), FIRST),
            ("locked", "true", has("locked_by", "owner"), "2.73"),
            ("locked", "False", has("locked_by", None), "2.73"),
            ("availability_zone", "z1", has("availability_zone", "z1"), "2.83"),
            ("config_drive", "1", lambda s: s.wishes.config_drive, "2.83"),
            ("config_drive", "no", lambda s: not s.wishes.config_drive, "2.83"),
            ("key_name", "k1", lambda s: s.wishes.key_pair is not None, "2.83"),
            ("created_at", soon, has("created_at", NOW + SECOND), "2.83"),
            ("launched_at", soon, has("launched_at", NOW + SECOND), "2.83"),
            ("terminated_at", soon, has("terminated_at", NOW + SECOND), "2.83"),
            ("power_state", "4", has("power_state", 4), "2.83"),
            ("task_state", "powering-on", has("task_state", "powering-on"), "2.83"),
            ("vm_state", "stopped", has("vm_state", "stopped"), "2.83"),
            ("progress", "50", has("progress", 50), "2.83"),
            ("user_id", "bob", has("user_id", "bob"), "2.83"),
            ("hostname", "web", has("hostname", "web"), "2.90"),
            ("host", "h1", has("host", "h1"), None),
            ("node", "h1.example", has("node", "h1.example"), None),
            ("uuid", self.servers[1].uuid, has("uuid", self.servers[1].uuid), None),
            ("description", "one", has("description", "one"), None),
            ("locked_by", "owner", has("locked_by", "owner"), None),
            ("root_device_name", quote("/dev/vda"), has("root_device_name", "/dev/vda"), None),
            ("access_ip_v4", "192.0.2.7", has("access_ipv4", "192.0.2.7"), None),
            ("access_ip_v6", "2001:db8::7", has("access_ipv6", "2001:db8::7"), None),
            ("display_name", "web", has("name", "web-2"), None),
            ("deleted", "true", has("deleted", True), None),
        ]

    def test_a_filter_is_heard_from_its_version_on_and_dropped_before(self) -> None:
        mine = self.of(self.servers, lambda _: True)
        for name, text, fits, first in self._filters():
            query, expected = f"{name}={text}", self.of(self.servers, fits)
            if first is None:
                self.assertEqual(mine, self.found(query), query)
                continue
            self.assertEqual(expected, self.found(query, first), query)
            self.assertEqual(expected, self.found(query), query)
            minor = int(first.partition(".")[2])
            if minor > 1:
                self.assertEqual(mine, self.found(query, f"2.{minor - 1}"), query)

    def test_administrators_filter_by_everything_at_every_version(self) -> None:
        for name, text, fits, first in self._filters():
            if name == "locked":
                continue
            query = f"{name}={text}&all_tenants=1&project_id=project-a"
            there = [*self.servers, self.gone] if name == "deleted" else self.servers
            expected = self.of(there, fits)
            for version in (FIRST, NEWEST):
                self.assertEqual(expected, self.found(query, version, ADMIN), (query, first))

    def test_all_filters_hold_together_and_any_value_of_one(self) -> None:
        web, two, db = self.servers[1:]
        self.assertEqual({two.uuid}, self.found("name=web&flavor=2"))
        self.assertEqual(set(), self.found("name=Web&flavor=2"))
        self.assertEqual({web.uuid, db.uuid}, self.found("hostname=web&hostname=none&locked=true")
                         | self.found("vm_state=stopped&vm_state=paused"))  # fmt: skip

    def test_projects_are_chosen_by_who_may(self) -> None:
        mine, others = self.of(self.servers, lambda _: True), {str(self.others.uuid)}
        for query, expected in (
            ("all_tenants=1", mine | others),
            ("all_tenants", mine | others),
            ("all_tenants=True&tenant_id=project-b", others),
            ("all_tenants=True&project_id=project-a", mine),
            ("tenant_id=project-b", set()),
            ("project_id=project-a", set()),
            ("all_tenants=0&project_id=project-a", set()),
            ("", set()),
        ):
            self.assertEqual(expected, self.found(query, token=ADMIN), query)
        for query in ("project_id=project-b", "tenant_id=project-b", "all_tenants=0"):
            self.assertEqual(mine, self.found(query), query)
        for path in ("/servers", "/servers/detail"):
            self.refused(403, "get_all_tenants", "GET", f"{path}?all_tenants=yes", token=ANN)
            self.refused(400, "all_tenants", "GET", f"{path}?all_tenants=perhaps", token=ADMIN)

    def test_what_a_parameter_cannot_mean_is_refused(self) -> None:
        for query, says in (
            ("changes-since=yesterday", "changes-since"),
            ("changes-before=0", "changes-before"),
            ("changes-since=2026-05-02T00:00:00Z&changes-before=2026-05-01T00:00:00Z", "changes-since"),
            ("created_at=today", "created_at"),
            ("power_state=running", "power_state"),
            ("progress=half", "progress"),
            ("locked=perhaps", "locked"),
            ("config_drive=perhaps", "config_drive"),
            ("name=(a", "name"),
            (f"name={'a' * 256}", "name"),
            ("limit=-1", "limit"),
            ("limit=many", "limit"),
            ("marker=nothing", "marker"),
            (f"marker={self.others.uuid}", "marker"),
            ("sort_dir=up", "sort_dir"),
            ("sort_key=uuid&sort_dir=asc&sort_dir=desc", "sort_dir"),
            ("sort_key=colour", "sort_key"),
            ("colour=blue", "colour"),
        ):  # fmt: skip
            for path in ("/servers", "/servers/detail"):
                self.refused(400, says, "GET", f"{path}?{query}", version=NEWEST, token=ANN)


class ChangesTest(ListsCase):
    """``changes-since``, ``changes-before`` and ``deleted``."""

    def test_changes_are_of_a_period_with_both_its_ends_and_deleted_ones_among_them(self) -> None:
        times = [NOW + number * SECOND for number in range(4)]
        changed = [self.added(updated_at=moment) for moment in times]
        gone = self.added(updated_at=times[2], deleted=True, terminated_at=times[2])
        waiting = self.add(None, created_at=times[1])
        everything = [*changed, gone, waiting]

        def when(server: Instance) -> datetime:
            return server.updated_at or server.created_at

        def said(moment: datetime) -> str:
            return f"{moment.isoformat()}Z"

        for since in (None, *times):
            for before in (None, *times):
                if since and before and since > before:
                    continue
                query = {"changes-since": since, "changes-before": before}
                text = urlencode({name: said(moment) for name, moment in query.items() if moment})
                low, high = since or times[0], before or times[-1]
                expected = self.of(
                    everything if text else [*changed, waiting],
                    lambda s, low=low, high=high: low <= when(s) <= high,  # type: ignore[misc]
                )
                self.assertEqual(expected, self.found(text, "2.66"), text)
        zoned = quote((times[3] + timedelta(hours=2)).isoformat() + "+02:00")
        self.assertEqual({changed[3].uuid}, self.found(f"changes-since={zoned}"))
        self.assertEqual(
            {gone.uuid},
            self.found(f"changes-since={said(times[2])}&deleted=true&all_tenants=1", token=ADMIN),
        )  # fmt: skip


class TagsTest(ListsCase):
    """The four filters by tags, with every combination of three tags."""

    def test_tags_are_all_or_any_and_there_or_not(self) -> None:
        sets = [{tag for bit, tag in enumerate("abc") if number >> bit & 1} for number in range(8)]
        servers = [self.added(tags=tuple(sorted(tags))) for tags in sets]
        waiting = self.add(None, tags=("a", "b"))
        everything = [*servers, waiting]
        for query, fits in (
            ("tags=a,b", lambda t: {"a", "b"} <= t),
            ("tags-any=a,b", lambda t: bool({"a", "b"} & t)),
            ("not-tags=a,b", lambda t: not {"a", "b"} <= t),
            ("not-tags-any=a,b", lambda t: not {"a", "b"} & t),
            ("tags=a&not-tags-any=b", lambda t: "a" in t and "b" not in t),
            ("tags-any=a,b&not-tags=b,c", lambda t: bool({"a", "b"} & t) and not {"b", "c"} <= t),
            ("tags=d", lambda _: False),
        ):
            expected = self.of(everything, lambda s, fits=fits: fits(set(s.tags)))  # type: ignore[misc]
            self.assertEqual(expected, self.found(query, "2.26"), query)
            self.assertEqual(expected, self.found(query), query)
            self.assertEqual(self.of(everything, lambda _: True), self.found(query, "2.25"), query)


class PagesTest(ListsCase):
    """``limit``, ``marker``, the link to what follows, and the order."""

    def options(self) -> str:
        return super().options() + "max_limit = 4\n"

    def setUp(self) -> None:
        super().setUp()
        for number in range(5):
            named = {"name": "ab"[number % 2], "description": "xy"[number // 2 % 2]}
            uuid = InstanceUuid(f"aaaaaaaa-0000-4000-8000-{number:012}")
            self.added(**named, uuid=uuid, created_at=NOW + number * SECOND)

    def _page(self, query: str) -> tuple[str, list[tuple[str, str]] | None]:
        """Return the last digits of a page's servers, and what the link to the next one asks."""
        page = self.asked(200, "GET", f"/servers?{query}", token=ANN)
        links = page.get("servers_links")
        asked = None if links is None else parse_qsl(urlsplit(links[0]["href"]).query)
        return "".join(server["id"][-1] for server in page["servers"]), asked

    def _uuid(self, number: int) -> str:
        return f"aaaaaaaa-0000-4000-8000-{number:012}"

    def test_a_full_page_has_a_link_that_repeats_what_was_asked(self) -> None:
        query = "sort_key=display_name&limit=2&sort_dir=asc&name=a|b&sort_key=uuid"
        found, link = self._page(query)
        self.assertEqual("02", found)
        self.assertEqual(
            [
                ("limit", "2"),
                ("marker", self._uuid(2)),
                ("name", "a|b"),
                ("sort_dir", "asc"),
                ("sort_key", "display_name"),
                ("sort_key", "uuid"),
            ],
            link,
        )
        found, link = self._page(urlencode(link or []))
        self.assertEqual("41", found)
        found, link = self._page(urlencode(link or []))
        self.assertEqual(("3", None), (found, link))

    def test_no_page_is_longer_than_the_most_and_a_full_one_always_has_a_link(self) -> None:
        for query, expected, linked in (
            ("", "4321", True),
            ("limit=1000", "4321", True),
            ("limit=99999999999999999999", "4321", True),
            ("limit=3", "432", True),
            ("limit=0", "", False),
            ("marker=" + self._uuid(4), "3210", True),
            ("marker=" + self._uuid(1), "0", False),
            ("marker=" + self._uuid(0), "", False),
            ("name=b&limit=2", "31", True),
        ):
            found, link = self._page(query)
            self.assertEqual((expected, linked), (found, link is not None), query)

    def test_keys_go_by_their_directions_and_by_the_first_where_there_are_less(self) -> None:
        for query, expected in (
            ("sort_dir=asc", "0123"),
            ("sort_key=created_at&sort_dir=asc", "0123"),
            ("sort_key=display_name", "3142"),
            ("sort_key=display_name&sort_key=created_at&sort_dir=asc", "0241"),
            ("sort_key=display_name&sort_key=created_at&sort_dir=asc&sort_dir=desc", "4203"),
            ("sort_key=display_description&sort_key=display_name&sort_key=uuid"
             "&sort_dir=desc&sort_dir=asc&sort_dir=desc", "2340"),
        ):  # fmt: skip
            self.assertEqual(expected, self._page(query)[0], query)
