"""Versions, schemas and routes of Placement."""

import testtools
from testtools.testcase import ExpectedException

from kilonova.core.errors import Invalid, MalformedBody, NotAcceptable
from kilonova.placement import policies, schemas
from kilonova.placement.routes import ROUTES
from kilonova.placement.wire import MAXIMUM, MINIMUM, is_uuid, negotiate, validate


class WireTest(testtools.TestCase):
    """Values in, values out."""

    def test_versions_are_agreed_on(self) -> None:
        for header, expected in (
            (None, MINIMUM),
            ("", MINIMUM),
            ("compute 2.1", MINIMUM),
            ("placement 1.7", (1, 7)),
            ("Placement  1.7 ", (1, 7)),
            ("compute 2.1,placement 1.10", (1, 10)),
            ("placement latest", MAXIMUM),
        ):
            self.assertEqual(expected, negotiate(header), header)

    def test_the_newest_version_is_the_originals(self) -> None:
        self.assertEqual((1, 39), MAXIMUM)

    def test_versions_that_are_none_are_refused(self) -> None:
        for wanted in ("1", "1.", "a.b", "1.2.3", "-1.2", "1.٣", "1." + "9" * 99):
            with ExpectedException(Invalid, "invalid version string.*"):
                negotiate(f"placement {wanted}")
        for wanted in ("0.9", "1.40", "2.0"):
            with ExpectedException(NotAcceptable, "Unacceptable version header.*"):
                negotiate(f"placement {wanted}")

    def test_a_uuid_has_all_its_dashes_or_none(self) -> None:
        for good in ("aaaaaaaa-0000-4000-8000-00000000000A", "aaaaaaaa00004000800000000000000a"):
            self.assertTrue(is_uuid(good))
        for bad in (
            "{aaaaaaaa-0000-4000-8000-00000000000a}",
            "urn:uuid:aaaaaaaa-0000-4000-8000-00000000000a",
            "aaaaaaaa-000040008000-00000000000a",
            "aaaaaaaa-0000-4000-8000-00000000000a\n",
            "gaaaaaaa-0000-4000-8000-00000000000a",
            "",
            None,
            7,
        ):
            self.assertFalse(is_uuid(bad), bad)

    def test_a_refused_body_names_field_and_rule_and_stays_short(self) -> None:
        body = {"name": "n" * 100_000, "uuid": "x"}
        error = self.assertRaises(MalformedBody, validate, schemas.PROVIDER_CREATE[1, 0], body)
        self.assertIn("'maxLength'", str(error))
        self.assertIn("['name']", str(error))
        self.assertLess(len(str(error)), 2000)

    def test_what_holds_at_a_version_is_the_newest_step_up_to_it(self) -> None:
        steps = {(1, 0): "a", (1, 12): "b"}
        for version, expected in (((1, 0), "a"), ((1, 11), "a"), ((1, 12), "b"), ((1, 39), "b")):
            self.assertEqual(expected, schemas.since(version, steps))


class RoutesTest(testtools.TestCase):
    """The table of routes against what clients know of Placement."""

    def test_there_are_eighteen_paths_and_thirty_six_operations_beside_our_own(self) -> None:
        theirs = {path: routes for path, routes in ROUTES.items() if "kilonova" not in path}
        self.assertEqual(18, len(theirs))
        self.assertEqual(36, sum(len(routes) for routes in theirs.values()))

    def test_every_operation_but_the_version_document_has_a_rule_that_is_listed(self) -> None:
        listed = {rule.name for rule in policies.list_rules()}
        for path, routes in ROUTES.items():
            for method, route in routes.items():
                if path == "/":
                    self.assertEqual("", route.rule)
                else:
                    self.assertIn(route.rule, listed, f"{method} {path}")

    def test_every_listed_rule_names_an_operation_that_is_served(self) -> None:
        served = {(method, path) for path, routes in ROUTES.items() for method in routes}
        spelled = {"{consumer_uuid}": "{consumer}", "{resource_class}": "{name}"}
        for rule in policies.list_rules():
            for operation in getattr(rule, "operations", ()):
                path = operation["path"]
                for theirs, ours in spelled.items():
                    path = path.replace(theirs, ours)
                self.assertIn((operation["method"], path), served)
