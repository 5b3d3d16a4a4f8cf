"""Flavors through the API."""

from typing import Any

from tests.functional.api.api_case import ANN, BOB, ApiCase

SMALL = {"name": "m1.tiny", "id": "1", "ram": 512, "vcpus": 1, "disk": 1}


class FlavorsTest(ApiCase):
    """Administrators make flavors, everybody sees the public ones."""

    def _create(self, **changed: Any) -> dict[str, Any]:
        document = self.asked(200, "POST", "/flavors", {"flavor": SMALL | changed})
        made: dict[str, Any] = document["flavor"]
        return made

    def _ids(self, query: str = "", **how: str) -> list[str]:
        found = self.asked(200, "GET", f"/flavors{query}", **how)["flavors"]
        return [flavor["id"] for flavor in found]

    def test_a_flavor_is_shown_as_it_was_made(self) -> None:
        made = self._create(
            swap="64",
            rxtx_factor="1.5",
            description="small",
            **{"OS-FLV-EXT-DATA:ephemeral": 2, "os-flavor-access:is_public": "yes"},
        )
        self.assertEqual(
            {
                "id": "1",
                "name": "m1.tiny",
                "ram": 512,
                "vcpus": 1,
                "disk": 1,
                "swap": 64,
                "rxtx_factor": 1.5,
                "description": "small",
                "OS-FLV-EXT-DATA:ephemeral": 2,
                "OS-FLV-DISABLED:disabled": False,
                "os-flavor-access:is_public": True,
                "extra_specs": {},
                "links": [
                    {"rel": "self", "href": "http://falconframework.org/v2.1/flavors/1"},
                    {"rel": "bookmark", "href": "http://falconframework.org/flavors/1"},
                ],
            },
            made,
        )
        self.assertEqual(made, self.asked(200, "GET", "/flavors/1", token=ANN)["flavor"])
        self.assertEqual([made], self.asked(200, "GET", "/flavors/detail")["flavors"])

    def test_without_an_id_a_flavor_gets_a_uuid(self) -> None:
        self.assertEqual(36, len(self._create(id=None)["id"]))
        without = {key: value for key, value in SMALL.items() if key != "id"} | {"name": "other"}
        made = self.asked(200, "POST", "/flavors", {"flavor": without})["flavor"]
        self.assertEqual(36, len(made["id"]))
        self.assertEqual("7", self._create(name="seven", id=7)["id"])

    def test_what_is_wrong_is_named_and_nothing_is_made(self) -> None:
        for field, value in (
            ("name", ""),
            ("name", " x"),
            ("name", "x\n"),
            ("name", "n" * 256),
            ("name", None),
            ("id", "a/b"),
            ("id", " 1"),
            ("id", True),
            ("ram", 0),
            ("ram", "many"),
            ("ram", 2**31),
            ("ram", 1.5),
            ("ram", True),
            ("vcpus", "0"),
            ("vcpus", "9" * 5000),
            ("disk", -1),
            ("swap", 2**31),
            ("OS-FLV-EXT-DATA:ephemeral", -1),
            ("rxtx_factor", 0),
            ("rxtx_factor", "fast"),
            ("rxtx_factor", 1e39),
            ("os-flavor-access:is_public", "perhaps"),
            ("description", "x\ny"),
            ("colour", "blue"),
        ):
            body = {"flavor": SMALL | {field: value}}
            self.refused(400, field, "POST", "/flavors", body)
        self.refused(400, "ram", "POST", "/flavors", {"flavor": {"name": "x"}})
        self.refused(400, "flavor", "POST", "/flavors", {})
        self.refused(400, "", "POST", "/flavors", [])
        self.refused(400, "", "POST", "/flavors")
        self.refused(
            400,
            "description",
            "POST",
            "/flavors",
            {"flavor": SMALL | {"description": "x"}},
            version="2.54",
        )
        self.assertEqual([], self._ids("?is_public=None"))

    def test_only_administrators_manage_flavors(self) -> None:
        self._create()
        self.refused(403, "create", "POST", "/flavors", {"flavor": SMALL}, token=ANN)
        self.refused(403, "delete", "DELETE", "/flavors/1", token=ANN)
        self.refused(
            403, "update", "PUT", "/flavors/1", {"flavor": {"description": "x"}}, token=ANN
        )
        self.refused(403, "access", "GET", "/flavors/1/os-flavor-access", token=ANN)

    def test_a_private_flavor_is_seen_by_those_it_was_given_to(self) -> None:
        self._create(**{"os-flavor-access:is_public": False})
        self.assertEqual([], self._ids("?is_public=None", token=ANN))
        self.refused(404, "1", "GET", "/flavors/1", token=ANN)
        self.refused(404, "1", "GET", "/flavors/1/os-extra_specs", token=ANN)
        add = {"addTenantAccess": {"tenant": "project-a"}}
        given = self.asked(200, "POST", "/flavors/1/action", add)["flavor_access"]
        self.assertEqual([{"flavor_id": "1", "tenant_id": "project-a"}], given)
        self.assertEqual(["1"], self._ids(token=ANN))
        self.assertEqual([], self._ids(token=BOB))
        self.asked(200, "GET", "/flavors/1", token=ANN)
        self.refused(409, "project-a", "POST", "/flavors/1/action", add)
        remove = {"removeTenantAccess": {"tenant": "project-a"}}
        self.assertEqual([], self.asked(200, "POST", "/flavors/1/action", remove)["flavor_access"])
        self.refused(404, "project-a", "POST", "/flavors/1/action", remove)
        self.refused(404, "1", "GET", "/flavors/1", token=ANN)

    def test_administrators_choose_which_kind_they_list(self) -> None:
        self._create()
        self._create(id="2", name="secret", **{"os-flavor-access:is_public": False})
        self.assertEqual(["1"], self._ids())
        self.assertEqual(["1"], self._ids("?is_public=True"))
        self.assertEqual(["2"], self._ids("?is_public=False"))
        self.assertEqual(["1", "2"], self._ids("?is_public=None"))
        self.assertEqual(["1"], self._ids("?is_public=None", token=ANN))
        self.refused(400, "is_public", "GET", "/flavors?is_public=maybe")

    def test_lists_are_sorted_filtered_and_paged(self) -> None:
        for number, ram in ((1, 512), (2, 2048), (3, 1024)):
            self._create(id=str(number), name=f"f{number}", ram=ram)
        self.assertEqual(["1", "3", "2"], self._ids("?sort_key=memory_mb"))
        self.assertEqual(["2", "3", "1"], self._ids("?sort_key=memory_mb&sort_dir=desc"))
        self.assertEqual(["2", "3"], self._ids("?minRam=1024"))
        first = self.asked(200, "GET", "/flavors?limit=2&minRam=1")
        (link,) = first["flavors_links"]
        self.assertEqual("next", link["rel"])
        self.assertTrue(link["href"].endswith("/v2.1/flavors?limit=2&marker=2&minRam=1"), link)
        self.assertEqual(["3"], self._ids("?limit=2&marker=2"))
        self.assertEqual([], self._ids("?limit=0"))
        for query, says in (
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("marker=9", "9"),
            ("sort_key=colour", "sort_key"),
            ("sort_dir=up", "sort_dir"),
            ("minRam=big", "minRam"),
            ("minDisk=big", "minDisk"),
            ("colour=blue", "colour"),
        ):
            self.refused(400, says, "GET", f"/flavors?{query}")
        self.assertEqual(3, len(self._ids("?colour=blue", version="2.74")))

    def test_flavors_are_found_by_name_from_2_102_on(self) -> None:
        for number, name in enumerate(("m1.tiny", "m1.small", "c1.big")):
            flavor = {"id": f"f{number}", "name": name, "ram": 1, "vcpus": 1, "disk": 1}
            self.asked(200, "POST", "/flavors", {"flavor": flavor})

        def named(query: str, version: str = "2.102") -> set[str]:
            listed = self.asked(200, "GET", f"/flavors{query}", version=version)["flavors"]
            return {flavor["name"] for flavor in listed}

        self.assertEqual({"m1.tiny", "m1.small"}, named("?name=m1"))
        self.assertEqual({"c1.big"}, named("/detail?name=big$"))
        self.refused(400, "name", "GET", "/flavors?name=m1", version="2.101")
        self.assertLessEqual({"m1.tiny", "c1.big"}, named("?name=m1", "2.74"))
        self.refused(400, "sort_key", "GET", "/flavors?sort_key=rxtx_factor", version="2.102")
        self.assertLessEqual({"c1.big"}, named("?sort_key=rxtx_factor", "2.101"))
        body = {"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 1, "rxtx_factor": 2.0}}
        self.refused(400, "rxtx_factor", "POST", "/flavors", body, version="2.102")
        made = self.asked(200, "POST", "/flavors", body, version="2.101")["flavor"]
        self.assertEqual(2.0, made["rxtx_factor"])

    def test_extra_specs_are_added_set_shown_and_removed(self) -> None:
        self._create()
        specs = "/flavors/1/os-extra_specs"
        body = {"extra_specs": {"hw:cpu_policy": "shared", "quota:cpu_shares": 10}}
        self.assertEqual(body, self.asked(200, "POST", specs, body))
        stored = {"hw:cpu_policy": "shared", "quota:cpu_shares": "10"}
        self.assertEqual({"extra_specs": stored}, self.asked(200, "GET", specs, token=ANN))
        self.assertEqual(stored, self.asked(200, "GET", "/flavors/1")["flavor"]["extra_specs"])
        changed = {"hw:cpu_policy": "dedicated"}
        self.assertEqual(changed, self.asked(200, "PUT", f"{specs}/hw:cpu_policy", changed))
        self.assertEqual(changed, self.asked(200, "GET", f"{specs}/hw:cpu_policy"))
        self.asked(200, "DELETE", f"{specs}/hw:cpu_policy")
        self.refused(404, "hw:cpu_policy", "GET", f"{specs}/hw:cpu_policy")
        self.refused(404, "hw:cpu_policy", "DELETE", f"{specs}/hw:cpu_policy")
        self.refused(403, "create", "POST", specs, body, token=ANN)

    def test_wrong_extra_specs_are_refused_and_leave_the_flavor_as_it_was(self) -> None:
        self._create()
        specs = "/flavors/1/os-extra_specs"
        for given, says in (
            ({"hw:cpu_policy": "fast"}, "hw:cpu_policy"),
            ({"hw:typo": "1", "ok": "1"}, "hw:typo"),
            ({"a/b": "1"}, "a/b"),
            ({"a": "x" * 256}, "a"),
            ({"a": None}, "a"),
            ({"a": {}}, "a"),
        ):
            self.refused(400, says, "POST", specs, {"extra_specs": given})
        self.refused(400, "mismatch", "PUT", f"{specs}/a", {"b": "1"})
        self.refused(400, "", "PUT", f"{specs}/a", {"a": "1", "b": "1"})
        self.refused(404, "9", "POST", "/flavors/9/os-extra_specs", {"extra_specs": {"a": "1"}})
        self.assertEqual({}, self.asked(200, "GET", specs)["extra_specs"])
        self.asked(200, "POST", specs, {"extra_specs": {"hw:typo": "1"}}, version="2.85")
