"""``/kilonova/v1/desired``: what may be asked for, by whom, and what is told of it."""

from datetime import timedelta
from typing import Any

import msgspec

from kilonova.core.clock import utcnow
from kilonova.core.desired import MOST, Ending, Slot
from kilonova.core.quota import Limits
from kilonova.core.states import VmState
from kilonova.db import build_requests, cells, desired, instances
from kilonova.db.acceptance import Accepted
from kilonova.db.desired import Filling
from tests.functional.api.api_case import ADMIN, ANN, BOB, CELL
from tests.functional.api.population import PUBLIC_KEY
from tests.functional.api.test_decisions import OwnApiCase
from tests.functional.compute.image_store import ServedImages
from tests.functional.db import servers

REED = {"token": ANN, "roles": "reader"}


class DesiredCase(OwnApiCase):
    """With an image store and a flavor, and without a conductor."""

    def options(self) -> str:
        images = ServedImages(self.directory)
        self.addCleanup(images.stop)
        self.image = images.add(b"\0" * 512).image_id
        return super().options() + images.options

    def setUp(self) -> None:
        super().setUp()
        for flavor_id in ("1", "2"):
            flavor = {"id": flavor_id, "name": f"f{flavor_id}", "vcpus": 1, "ram": 64, "disk": 1}
            self.asked(200, "POST", "/flavors", {"flavor": flavor})

    def body(self, name: str = "web", count: int = 3, **more: Any) -> dict[str, Any]:
        """Return what desires servers; ``more`` goes into ``server``."""
        server = {"flavorRef": "1", "imageRef": self.image, "networks": "none"} | more
        return {"desired": {"name": name, "count": count}, "server": server}

    def create(self, name: str = "web", token: str = ANN, **more: Any) -> dict[str, Any]:
        """Desire servers."""
        made: dict[str, Any] = self.own_asked(
            202, "POST", "/desired", self.body(name, **more), token=token
        )["desired"]
        return made

    def shown(self, name: str = "web", token: str = ANN) -> dict[str, Any]:
        """Return desired servers as they are shown."""
        shown: dict[str, Any] = self.own_asked(200, "GET", f"/desired/{name}", token=token)
        return dict(shown["desired"])

    def own_refused(self, status: int, says: str, method: str, path: str, body: Any = None, **how: str) -> None:  # fmt: skip  # noqa: E501
        """Ask, and expect a fault whose sentence says something."""
        (fault,) = self.own_asked(status, method, path, body, **how).values()
        self.assertIn(says, fault["message"])

    def fill(self, uuid: str, number: int, **changed: Any) -> str:
        """Put a server of one host into a slot, as the converger does."""
        one = servers.instance(**changed)
        spec = servers.accepted(1)[0].spec
        accepted = Accepted(instance=one, spec=spec, request_id=servers.REQUEST)
        slot = Slot(number=number)
        after = msgspec.structs.replace(slot, server=one.uuid, generation=1)
        desired.start(self.api_db, uuid, [Filling(slot, after, accepted)], Limits())
        build_requests.take(self.api_db, [one.uuid], "c1", utcnow())
        build_requests.settle(self.api_db, {one.uuid: CELL}, "c1")
        placed = servers.placed(uuid=one.uuid)
        row = msgspec.structs.replace(placed, instance=one)
        instances.insert(self.cell_db, [row])
        return str(one.uuid)


class AskTest(DesiredCase):
    """What is accepted, and what is refused."""

    def test_what_is_desired_is_told_with_its_place_and_nothing_is_made_yet(self) -> None:
        answer = self.own("POST", "/desired", self.body(), token=ANN)
        self.assertEqual(202, answer.status_code, answer.text)
        made = answer.json["desired"]
        place = answer.headers["Location"]
        self.assertTrue(place.endswith(f"/kilonova/v1/desired/{made['id']}"), place)
        expected = {
            "name": "web",
            "project_id": "project-a",
            "user_id": "ann",
            "count": 3,
            "started": 0,
            "deleting": False,
            "generation": 1,
            "server_group_id": None,
        }
        self.assertEqual(expected, {name: made[name] for name in expected})
        self.assertEqual([], self.asked(200, "GET", "/servers", token=ANN)["servers"])
        shown = self.shown()
        self.assertEqual(made, {name: shown[name] for name in made})
        self.assertEqual(shown, self.shown(made["id"]))
        self.assertEqual(("f1", self.image), (shown["flavor"]["name"], shown["image"]["id"]))
        missing = {"failures": 0, "failed_at": None, "reason": None, "next_start_after": None}
        missing |= {"id": None, "status": "missing", "generation": None}
        self.assertEqual([missing | {"index": n} for n in range(3)], shown["servers"])

    def test_what_is_wrong_is_refused_by_name(self) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"desired": {"name": "web"}}, "count"),
            ({"desired": {"name": "web", "count": -1}}, "count"),
            ({"desired": {"name": "web", "count": MOST + 1}}, "count"),
            ({"desired": {"name": "", "count": 1}}, "name"),
            ({"desired": {"name": "w" * 251, "count": 1}}, "name"),
            ({"desired": {"name": "web", "count": 1, "group_policy": "near"}}, "group_policy"),
            ({"desired": {"name": "web", "count": 1, "colour": "red"}}, "colour"),
            (self.body(flavorRef="9"), "Flavor 9"),
            (self.body(imageRef="aaaaaaaa-0000-4000-8000-000000000009"), "find requested image"),
            (self.body(key_name="mine"), "key_name"),
            (self.body(name="x", min_count=2), "min_count"),
            (self.body(adminPass="secret"), "adminPass"),
            (self.body(hostname="one"), "hostname"),
            (self.body(availability_zone="nowhere"), "availability zone"),
        ]
        for wrong, says in cases:
            body = self.body() | wrong
            self.own_refused(400, says, "POST", "/desired", body, token=ANN)
        both = self.body()
        both["desired"]["group_policy"] = "affinity"
        both["os:scheduler_hints"] = {"group": "aaaaaaaa-0000-4000-8000-000000000009"}
        self.own_refused(400, "group_policy", "POST", "/desired", both, token=ANN)
        self.create()
        self.own_refused(409, "already", "POST", "/desired", self.body(), token=ANN)
        self.assertEqual([], self.own_asked(200, "GET", "/desired", token=BOB)["desired"])

    def test_a_server_group_is_made_for_them_and_counted(self) -> None:
        body = self.body()
        body["desired"]["group_policy"] = "anti-affinity"
        made = self.own_asked(202, "POST", "/desired", body, token=ANN)["desired"]
        (group,) = self.asked(200, "GET", "/os-server-groups", token=ANN)["server_groups"]
        self.assertEqual(
            (made["server_group_id"], "web", "anti-affinity"),
            (group["id"], group["name"], group["policy"]),
        )
        found = desired.template_of(self.api_db, made["id"], 1)
        assert found is not None and found.instance.wishes.group is not None
        self.assertEqual(group["id"], found.instance.wishes.group.group_uuid)
        self.assertEqual(found.spec.group, found.instance.wishes.group)
        quota = {"quota_set": {"server_groups": 1}}
        self.asked(200, "PUT", "/os-quota-sets/project-a", quota)
        body["desired"]["name"] = "other"
        self.own_refused(403, "server_groups", "POST", "/desired", body, token=ANN)
        self.own_asked(404, "GET", "/desired/other", token=ANN)

    def test_no_password_is_kept(self) -> None:
        made = self.create(config_drive=True)
        found = desired.template_of(self.api_db, made["id"], 1)
        assert found is not None
        self.assertTrue(found.instance.wishes.config_drive)
        self.assertEqual("", found.instance.wishes.admin_pass)


class ChangeTest(DesiredCase):
    """Scale, replace, delete."""

    def test_a_scale_changes_the_count_alone(self) -> None:
        self.create()
        scaled = self.own_asked(202, "PUT", "/desired/web", {"desired": {"count": 5}}, token=ANN)
        self.assertEqual((5, 1), (scaled["desired"]["count"], scaled["desired"]["generation"]))
        self.assertEqual(5, len(self.shown()["servers"]))

    def test_a_replace_keeps_what_it_does_not_name_and_who_they_belong_to(self) -> None:
        key = {"name": "k", "public_key": PUBLIC_KEY}
        self.asked(201, "POST", "/os-keypairs", {"keypair": key}, token=ANN)
        made = self.create(key_name="k", metadata={"a": "b"})
        body = {"server": {"flavorRef": "2"}}
        path = f"/desired/{made['id']}"
        replaced = self.own_asked(202, "PUT", path, body, token=ADMIN)["desired"]
        self.assertEqual((2, "f2"), (replaced["generation"], replaced["flavor"]["name"]))
        found = desired.template_of(self.api_db, made["id"], 2)
        assert found is not None and found.instance.wishes.key_pair is not None
        one = found.instance
        self.assertEqual(("project-a", "ann"), (one.project_id, one.user_id))
        self.assertEqual({"a": "b"}, one.metadata)
        again = self.own_asked(202, "PUT", path, {"server": {}}, token=ANN)["desired"]
        self.assertEqual((3, "f2"), (again["generation"], again["flavor"]["name"]))

    def test_a_wrong_change_changes_nothing(self) -> None:
        self.create()
        before = self.shown()
        for wrong, says in (
            ({}, "non-empty"),
            ({"desired": {}}, "count"),
            ({"desired": {"count": 2, "name": "x"}}, "name"),
            ({"desired": {"count": 2}, "server": {"flavorRef": "9"}}, "Flavor 9"),
            ({"server": {"name": "x"}}, "name"),
        ):
            self.own_refused(400, says, "PUT", "/desired/web", wrong, token=ANN)
        self.assertEqual(before, self.shown())

    def test_what_is_deleted_is_told_as_such_and_changes_no_more(self) -> None:
        self.create()
        self.own_asked(202, "DELETE", "/desired/web", token=ANN)
        shown = self.shown()
        self.assertEqual((True, 3, []), (shown["deleting"], shown["count"], shown["servers"]))
        scale = {"desired": {"count": 1}}
        self.own_refused(409, "being deleted", "PUT", "/desired/web", scale, token=ANN)
        self.own_asked(202, "DELETE", "/desired/web", token=ANN)


class WhoTest(DesiredCase):
    """Whose they are."""

    def test_what_is_anothers_is_not_found_and_readers_only_look(self) -> None:
        made = self.create()
        one = f"/desired/{made['id']}"
        scale = {"desired": {"count": 0}}
        for path in (one, "/desired/web"):
            self.own_asked(404, "GET", path, token=BOB)
            self.own_asked(404, "PUT", path, scale, token=BOB)
            self.own_asked(404, "DELETE", path, token=BOB)
        self.own_asked(403, "GET", "/desired?all_projects=1", token=BOB)
        self.assertEqual([], self.own_asked(200, "GET", "/desired", token=BOB)["desired"])
        self.own_asked(403, "POST", "/desired", self.body("x"), **REED)
        self.own_asked(403, "PUT", one, scale, **REED)
        self.own_asked(403, "DELETE", one, **REED)
        self.assertEqual(made["id"], self.own_asked(200, "GET", one, **REED)["desired"]["id"])
        self.assertEqual(3, self.shown()["count"])

    def test_administrators_see_all_and_each_page(self) -> None:
        made = sorted(
            self.create(name, token=token)["id"]
            for name, token in (("a", ANN), ("b", ANN), ("a", BOB))
        )
        self.assertEqual(made[0], self.shown(made[0], token=ADMIN)["id"])
        path = "/desired?all_projects=true&limit=2"
        first = self.own_asked(200, "GET", path)
        self.assertEqual(made[:2], [one["id"] for one in first["desired"]])
        rest = self.own_asked(200, "GET", f"{path}&marker={first['next_marker']}")
        self.assertEqual(made[2:], [one["id"] for one in rest["desired"]])
        self.assertNotIn("next_marker", rest)
        self.own_asked(400, "GET", "/desired?limit=0")
        self.assertEqual(2, len(self.own_asked(200, "GET", "/desired", token=ANN)["desired"]))


class ShowTest(DesiredCase):
    """What is told of each index."""

    def test_each_index_is_told_as_it_is(self) -> None:
        made = self.create()
        active = self.fill(made["id"], 0, vm_state=VmState.ACTIVE, task_state=None)
        broken = self.fill(made["id"], 1, vm_state=VmState.ERROR, task_state=None)
        now = utcnow()
        (slot,) = desired.slots_of(self.api_db, [made["id"]])[made["id"]][1:]
        ending = msgspec.structs.replace(
            slot, ending=Ending.FAILED, failures=5, failed_at=now, reason="out of luck"
        )
        shown = self.shown()
        self.assertEqual(
            [(active, "running"), (broken, "broken"), (None, "missing")],
            [(one["id"], one["status"]) for one in shown["servers"]],
        )
        self.assertEqual((1, 2), (shown["running"], shown["started"]))
        self.assertTrue(desired.move(self.api_db, made["id"], slot, ending))
        told = self.shown()["servers"][1]
        self.assertEqual(("leaving", 5, "out of luck"), (told["status"], told["failures"], told["reason"]))  # fmt: skip  # noqa: E501
        due = now + timedelta(seconds=60)
        self.assertEqual(due.isoformat(timespec="microseconds"), told["next_start_after"])

    def test_a_cell_that_does_not_answer_is_no_failure(self) -> None:
        made = self.create()
        self.fill(made["id"], 0, vm_state=VmState.ACTIVE, task_state=None)
        away = f"sqlite:///{self.directory}/nowhere/cell.db"
        cells.update_cell(self.api_db, CELL, {"database_connection": away})
        self.assertEqual("unknown", self.shown()["servers"][0]["status"])

    def test_a_replace_is_told_until_all_are_new(self) -> None:
        made = self.create()
        self.fill(made["id"], 0, vm_state=VmState.ACTIVE, task_state=None)
        self.assertIsNone(self.shown()["replace"])
        self.own_asked(202, "PUT", "/desired/web", {"server": {"flavorRef": "2"}}, token=ANN)
        self.assertEqual({"left": 1, "of": 3, "stopped_by": None}, self.shown()["replace"])
        failed = Slot(number=1, generation=2, failures=1, failed_at=utcnow(), reason="bad")
        desired.move(self.api_db, made["id"], Slot(number=1), failed)
        told = self.shown()["replace"]
        self.assertEqual({"left": 1, "of": 3, "stopped_by": "index 1: bad"}, told)
