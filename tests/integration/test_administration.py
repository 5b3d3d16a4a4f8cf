"""Flavors, key pairs, quotas, aggregates and hosts on real MariaDB and PostgreSQL servers.

The functional tests once more: what holds on SQLite, which has one writer at a time, must hold where
writers meet.
"""

import itertools
import tempfile
from pathlib import Path
from typing import ClassVar

from tests.functional.api import test_bad_input as api_bad_input
from tests.functional.api import test_hosts as api_hosts
from tests.functional.api import test_key_pairs as api_key_pairs
from tests.functional.db import test_aggregates, test_flavors, test_key_pairs, test_quotas
from tests.integration.services.databases import MariaDB, PostgreSQL

_CASES = (
    test_aggregates.AggregatesTest,
    test_flavors.FlavorsTest,
    test_key_pairs.KeyPairsTest,
    test_quotas.QuotasTest,
    api_bad_input.BadInputTest,
    api_hosts.HypervisorsTest,
    api_hosts.ServicesTest,
    api_key_pairs.KeyPairsTest,
)
_numbers = itertools.count()
_directory = tempfile.TemporaryDirectory()
_servers: list[MariaDB | PostgreSQL] = []


class _OnServer:
    """Gives a test case databases of its own on a server that its module started."""

    kind: ClassVar[type[MariaDB | PostgreSQL]]

    def database_url(self, name: str) -> str:
        """Return the URL of an empty database."""
        server = next(one for one in _servers if isinstance(one, self.kind))
        return server.url(f"{name}_{next(_numbers)}")


def setUpModule() -> None:
    """Start both servers."""
    Path(_directory.name).chmod(0o755)
    for kind in (MariaDB, PostgreSQL):
        server = kind(Path(_directory.name) / kind.name)
        _servers.append(server)
        server.start()


def tearDownModule() -> None:
    """Stop them."""
    while _servers:
        _servers.pop().stop()
    _directory.cleanup()


def _on(kind: type[MariaDB | PostgreSQL], case: type) -> type:
    where = case.__module__.split(".")[2].capitalize()
    name = f"{where}{case.__name__}On{kind.__name__}"
    return type(name, (_OnServer, case), {"kind": kind, "__module__": __name__})


for _kind, _case in itertools.product((MariaDB, PostgreSQL), _CASES):
    _made = _on(_kind, _case)
    globals()[_made.__name__] = _made
del _made, _case, _kind
