"""Flavors in a real database."""

import sqlalchemy as sa
import testscenarios

from kilonova.core.errors import Conflict, Invalid, NotFound
from kilonova.core.ids import FlavorId, ProjectId
from kilonova.db import flavors
from kilonova.db.flavors import FlavorQuery
from tests.functional.db.api_database import ApiDatabaseTest, flavor

load_tests = testscenarios.load_tests_apply_scenarios

A, B = ProjectId("project-a"), ProjectId("project-b")


class FlavorsTest(ApiDatabaseTest):
    """What is written is found again, by those who may see it."""

    def _ids(self, **wanted: object) -> list[str]:
        found = flavors.list_flavors(self.db, FlavorQuery(**wanted))  # type: ignore[arg-type]
        return [f.flavor_id for f in found]

    def test_a_flavor_is_found_as_it_was_written(self) -> None:
        written = flavor(
            "42",
            name="m1.tiny",
            ephemeral_gb=2,
            swap_mb=64,
            rxtx_factor=1.5,
            description="small",
            extra_specs={"hw:cpu_policy": "shared"},
        )
        flavors.create(self.db, written)
        self.assertEqual(written, flavors.get(self.db, "42", A))

    def test_getting_a_flavor_for_a_boot_is_one_statement(self) -> None:
        flavors.create(self.db, flavor("42"))
        seen: list[str] = []
        for engine in self.db.engines:
            sa.event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
        flavors.get(self.db, "42", A)
        self.assertEqual(1, len(seen), seen)

    def test_an_unknown_flavor_is_not_found(self) -> None:
        self.assertRaises(NotFound, flavors.get, self.db, "42", None)

    def test_a_private_flavor_is_seen_only_by_its_projects_and_by_who_sees_all(self) -> None:
        flavors.create(self.db, flavor("7", is_public=False))
        self.assertRaises(NotFound, flavors.get, self.db, "7", A)
        flavors.allow(self.db, FlavorId("7"), A)
        self.assertEqual("7", flavors.get(self.db, "7", A).flavor_id)
        self.assertEqual("7", flavors.get(self.db, "7", None).flavor_id)
        self.assertRaises(NotFound, flavors.get, self.db, "7", B)
        flavors.disallow(self.db, FlavorId("7"), A)
        self.assertRaises(NotFound, flavors.get, self.db, "7", A)

    def test_access_given_twice_is_a_conflict_and_taken_twice_is_not_found(self) -> None:
        flavors.create(self.db, flavor("7", is_public=False))
        flavors.allow(self.db, FlavorId("7"), A)
        self.assertRaises(Conflict, flavors.allow, self.db, "7", A)
        self.assertEqual((A,), flavors.projects_of(self.db, "7"))
        flavors.disallow(self.db, FlavorId("7"), A)
        self.assertRaises(NotFound, flavors.disallow, self.db, "7", A)

    def test_access_to_a_flavor_that_is_not_there_is_not_found(self) -> None:
        self.assertRaises(NotFound, flavors.allow, self.db, "nothing", A)

    def test_a_taken_name_or_id_is_a_conflict_that_says_which(self) -> None:
        flavors.create(self.db, flavor("1", name="one"))
        by_name = self.assertRaises(Conflict, flavors.create, self.db, flavor("2", name="one"))
        self.assertIn("name one", str(by_name))
        by_id = self.assertRaises(Conflict, flavors.create, self.db, flavor("1", name="two"))
        self.assertIn("ID 1", str(by_id))
        self.assertEqual(["1"], self._ids())

    def test_lists_filter_by_size_and_visibility(self) -> None:
        flavors.create(self.db, flavor("1", memory_mb=512, root_gb=1))
        flavors.create(self.db, flavor("2", memory_mb=2048, root_gb=20))
        flavors.create(self.db, flavor("3", is_public=False))
        self.assertEqual(["1", "2"], self._ids())
        self.assertEqual(["2"], self._ids(min_ram=1024))
        self.assertEqual(["2"], self._ids(min_disk=10))
        self.assertEqual(["3"], self._ids(is_public=False))
        self.assertEqual(["1", "2", "3"], self._ids(is_public=None))
        self.assertEqual(["1", "2"], self._ids(is_public=None, project=A))
        flavors.allow(self.db, FlavorId("3"), A)
        self.assertEqual(["1", "2", "3"], self._ids(is_public=None, project=A))

    def test_pages_in_any_order_hold_every_flavor_once(self) -> None:
        for number, ram in enumerate([512, 512, 1024, 256, 512]):
            described = {"description": "x"} if number == 2 else {}
            flavors.create(self.db, flavor(str(number), memory_mb=ram, **described))
        for key in ("memory_mb", "flavor_id", "description", "id", "is_public"):
            for descending in (False, True):
                whole = self._ids(sort_key=key, descending=descending)
                pages: list[str] = []
                marker = None
                while page := self._ids(
                    sort_key=key, descending=descending, marker=marker, limit=2
                ):
                    pages += page
                    marker = page[-1]
                self.assertEqual(whole, pages)
                self.assertEqual(["0", "1", "2", "3", "4"], sorted(pages))
        self.assertEqual("3", self._ids(sort_key="memory_mb")[0])
        self.assertEqual("2", self._ids(sort_key="memory_mb", descending=True)[0])

    def test_an_unknown_marker_is_refused(self) -> None:
        error = self.assertRaises(Invalid, self._ids, marker="nothing")
        self.assertIn("nothing", str(error))

    def test_extra_specs_change_under_a_lock_and_a_refusal_changes_nothing(self) -> None:
        flavors.create(self.db, flavor("1", extra_specs={"a": "1"}))
        flavors.change_extra_specs(self.db, "1", lambda specs: {**specs, "b": "2"})
        self.assertEqual({"a": "1", "b": "2"}, flavors.get(self.db, "1", None).extra_specs)

        def refuse(_specs: object) -> dict[str, str]:
            raise NotFound("no such key")

        self.assertRaises(NotFound, flavors.change_extra_specs, self.db, "1", refuse)
        self.assertEqual({"a": "1", "b": "2"}, flavors.get(self.db, "1", None).extra_specs)
        self.assertRaises(NotFound, flavors.change_extra_specs, self.db, "9", dict)

    def test_a_deleted_flavor_takes_its_access_list_along(self) -> None:
        flavors.create(self.db, flavor("7", is_public=False))
        flavors.allow(self.db, FlavorId("7"), A)
        flavors.delete(self.db, "7")
        self.assertRaises(NotFound, flavors.delete, self.db, "7")
        self.assertEqual((), flavors.projects_of(self.db, "7"))

    def test_only_the_description_of_a_flavor_changes(self) -> None:
        flavors.create(self.db, flavor("1"))
        self.assertEqual("new", flavors.describe(self.db, "1", "new").description)
        self.assertIsNone(flavors.describe(self.db, "1", None).description)
        self.assertRaises(NotFound, flavors.describe, self.db, "9", "x")
