"""What is true of all modules together."""

import importlib
import pkgutil
import subprocess
import sys
from collections import defaultdict

import testtools

import kilonova
from kilonova.core.errors import KilonovaError

# Migrations run when they are imported; libvirt's binding is only there where libvirt is.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(kilonova.__path__, "kilonova.")
    if ".migrations" not in module.name and not module.name.startswith("kilonova.compute.libvirt.")
]

_LOOK = """
import importlib, sys, threading
thread = threading.Thread
for name in sys.argv[1:]:
    importlib.import_module(name)
found = [name for name in sys.modules if name.partition(".")[0] in ("eventlet", "gevent")]
print(sorted(name for name in found if sys.modules[name] is not None), threading.Thread is thread)
"""


class ImportsTest(testtools.TestCase):
    """Every module of kilonova, imported."""

    def test_nothing_brings_eventlet_in_or_changes_threads(self) -> None:
        # In either order, because whoever imports a library first decides.
        orders = (MODULES, MODULES[::-1])
        looks = [
            subprocess.Popen(
                [sys.executable, "-c", _LOOK, *names],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for names in orders
        ]
        for names, look in zip(orders, looks, strict=True):
            said, errors = look.communicate(timeout=240)
            self.assertEqual("[] True\n", said, f"{names[0]} first: {errors}")

    def test_a_hypervisor_loads_nothing_that_speaks_to_databases(self) -> None:
        look = "import sys, kilonova.cli.compute; print('sqlalchemy' in sys.modules)"
        said = subprocess.run(
            [sys.executable, "-c", look], capture_output=True, text=True, check=True
        )
        self.assertEqual("False\n", said.stdout)

    def test_no_two_errors_of_all_modules_have_one_code(self) -> None:
        for name in MODULES:
            importlib.import_module(name)
        by_code: defaultdict[str, set[str]] = defaultdict(set)
        kinds: list[type[KilonovaError]] = [KilonovaError]
        while kinds:
            kind = kinds.pop()
            kinds += kind.__subclasses__()
            if kind.__module__.startswith("kilonova."):
                by_code[kind.code].add(f"{kind.__module__}.{kind.__name__}")
        self.assertEqual({}, {code: names for code, names in by_code.items() if len(names) > 1})
