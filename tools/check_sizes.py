"""Gates what rots first: the longest modules and functions.

Prints each one that is too long, and exits 1 if there is any.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("kilonova", "tests", "tools")
MODULE_LINES = 400
FUNCTION_LINES = 60
# One function that lists the tables of a schema: there is nothing in it to lose sight of.
EXEMPT = "kilonova/db/migrations/"


def too_long(path: Path) -> Iterator[str]:
    """Yield a line for the module, and one for each of its functions, that has reached its limit."""
    text = path.read_text()
    lines = text.count("\n")
    name = path.relative_to(ROOT)
    if lines >= MODULE_LINES:
        yield f"{name}: {lines} lines; a module stays under {MODULE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines >= FUNCTION_LINES:
                yield (
                    f"{name}:{node.lineno}: {node.name} has {lines} lines; "
                    f"a function stays under {FUNCTION_LINES}"
                )


def main() -> int:
    """Check every Python file of the project."""
    files = sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py"))
    files = [path for path in files if not str(path.relative_to(ROOT)).startswith(EXEMPT)]
    complaints = [line for path in files for line in too_long(path)]
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints or not files else 0


if __name__ == "__main__":
    sys.exit(main())
