import ast
from pathlib import Path

from testtools import TestCase

import kilonova.api
from kilonova.api.microversions import MAXIMUM, MINIMUM, NEVER, VERSIONS, Since, Span, edges

API = Path(kilonova.api.__file__).parent
OWNERS = {API / "microversions.py", API / "versions.py"}
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
NUMBER_OF_A_VERSION = (
    "kilonova/api/microversions.py says what each microversion changed: name it there"
)


def is_a_version(node: ast.AST) -> bool:
    """Whether an expression is, by its name or its form, the number of a microversion."""
    match node:
        case ast.Name(id="version") | ast.Attribute(attr="version"):
            return True
        case ast.Tuple(elts=[ast.Constant(value=2), ast.Constant(value=int())]):
            return True
    return False


def breaches(tree: ast.AST) -> list[int]:
    """Return the lines that compare a microversion by order, or write one down."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Compare)
            and any(isinstance(operator, ORDER) for operator in node.ops)
            and any(map(is_a_version, [node.left, *node.comparators]))
        )
        or (isinstance(node, ast.Tuple) and is_a_version(node))
    ]


class TestTable(TestCase):
    def test_every_microversion_says_what_it_changed(self) -> None:
        self.assertEqual([(2, minor) for minor in range(1, 105)], sorted(VERSIONS))
        self.assertEqual(
            [], [version for version, what in VERSIONS.items() if not what.endswith(".")]
        )
        self.assertEqual((MINIMUM, MAXIMUM), (min(VERSIONS), max(VERSIONS)))

    def test_a_change_holds_from_its_version_on_and_what_was_before_it_until_then(self) -> None:
        tags = Since.SERVER_TAGS
        self.assertNotIn((2, 25), tags)
        self.assertIn((2, 26), tags)
        self.assertIn(MAXIMUM, tags)
        self.assertIn((2, 25), tags.before)
        self.assertNotIn((2, 26), tags.before)

    def test_what_came_and_went_holds_between(self) -> None:
        shown = Since.CPU_INFO_OBJECT & Since.HYPERVISOR_UPTIME.before
        held = [minor for minor in range(1, 105) if (2, minor) in shown]
        self.assertEqual(list(range(28, 88)), held)

    def test_nothing_holds_never(self) -> None:
        self.assertEqual([], [version for version in VERSIONS if version in NEVER])

    def test_schemas_are_made_anew_where_a_change_comes_and_where_it_goes(self) -> None:
        self.assertEqual(
            {(2, 1), (2, 26), (2, 57)}, edges([Since.SERVER_TAGS, Since.NO_FILES.before])
        )
        self.assertEqual({(2, 1)}, edges([Span()]))


class TestCode(TestCase):
    def test_no_module_of_the_api_knows_the_number_of_a_microversion_but_the_table(self) -> None:
        for path in sorted(API.rglob("*.py")):
            if path not in OWNERS:
                lines = breaches(ast.parse(path.read_text()))
                self.assertEqual([], lines, f"{path}: {NUMBER_OF_A_VERSION}")

    def test_a_comparison_and_a_number_are_both_found(self) -> None:
        for line in (
            "if asked.version >= (2, 47): pass",
            "if version < LAST: pass",
            "if since <= version <= until: pass",
            "LAST = (2, 35)",
            "Route(since=(2, 53))",
        ):
            self.assertEqual([1], sorted(set(breaches(ast.parse(line)))), line)
        self.assertEqual([], breaches(ast.parse("if asked.version in Since.SERVER_TAGS: pass")))
