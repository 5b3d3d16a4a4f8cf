"""The hosts of all cells together: services, hypervisors, and what an operator does to them.

Owns the question which cell a service or a hypervisor is in. A cell whose database does not answer
hides its hosts from lists; it never fails one.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kilonova.core.errors import Conflict, DatabaseUnavailable, NotFound
from kilonova.core.host import Service
from kilonova.core.ids import HostName, ProviderUuid
from kilonova.db import aggregates, hosted, hosts
from kilonova.db.cells import Cells, cell_of_host, map_hosts, mapped_hosts, unmap_host
from kilonova.db.engine import Database
from kilonova.db.hosted import Hosted
from kilonova.db.hosts import EVERY_NODE, NodeQuery, StoredNode
from kilonova.db.scatter import gather


class Fleet:
    """Every cell's services and compute nodes."""

    def __init__(self, api_db: Database, cells: Cells) -> None:
        self._api_db = api_db
        self._cells = cells

    def services(
        self, *, binary: str | None = None, host: str | None = None
    ) -> tuple[list[Service], list[HostName]]:
        """Return the services of the cells that answer, and the hosts of those that do not."""
        found = gather(self._cells, lambda db: hosts.list_services(db, binary=binary, host=host))
        silent: list[HostName] = []
        if found.silent and binary in {None, hosts.COMPUTE}:
            silent = [
                name
                for name, cell in sorted(mapped_hosts(self._api_db).items())
                if cell in found.silent and host in {None, name}
            ]
        return list(itertools.chain.from_iterable(found.answers.values())), silent

    def knows(self, host: HostName) -> bool:
        """Whether there is such a compute host. One that has just reported for the first time is mapped."""
        if cell_of_host(self._api_db, host) is not None:
            return True
        found = gather(self._cells, lambda db: hosts.is_host(db, host))
        for cell, there in found.answers.items():
            if there:
                map_hosts(self._api_db, cell, [host])
                return True
        return False

    def providers_at(self, host: HostName) -> tuple[ProviderUuid, ...]:
        """Return the providers of a host's compute nodes; none if the host is not mapped.

        Raises:
            DatabaseUnavailable: its cell does not answer.
        """
        cell = cell_of_host(self._api_db, host)
        return () if cell is None else hosts.providers_at(self._cells.database(cell), host)

    def nodes(self, wanted: NodeQuery = EVERY_NODE) -> list[StoredNode]:
        """Return the compute nodes of the cells that answer, in order of the providers' UUIDs."""
        found = gather(self._cells, lambda db: hosts.list_nodes(db, wanted))
        nodes = itertools.chain.from_iterable(found.answers.values())
        ordered = sorted(nodes, key=lambda node: node.report.provider_uuid)
        return ordered[: wanted.limit]

    def servers_on(self, names: Collection[HostName]) -> dict[HostName, list[Hosted]]:
        """Return the servers of hosts."""
        found = gather(self._cells, lambda db: hosted.servers_on(db, names))
        servers: dict[HostName, list[Hosted]] = {}
        for server in itertools.chain.from_iterable(found.answers.values()):
            servers.setdefault(server.host, []).append(server)
        return servers

    def with_servers(self, names: Collection[HostName]) -> frozenset[HostName]:
        """Return those of the hosts that have servers.

        Raises:
            DatabaseUnavailable: a cell does not answer, so nobody knows.
        """
        if not names:
            return frozenset()
        found = gather(self._cells, lambda db: hosted.hosts_with_servers(db, names))
        if found.silent:
            raise DatabaseUnavailable(
                "A cell's database does not answer; its hosts may have servers."
            )
        return frozenset(itertools.chain.from_iterable(found.answers.values()))

    def _only(
        self, ask: Callable[[Database], Sequence[Service]], missing: str
    ) -> tuple[Database, Service]:
        found = gather(self._cells, ask)
        for cell, services in found.answers.items():
            for service in services:
                return self._cells.database(cell), service
        if found.silent:
            raise DatabaseUnavailable(
                "A cell's database does not answer; the service may be there."
            )
        raise NotFound(missing)

    def service(self, name: str) -> Service:
        """Return a service by its UUID, or by its number.

        Raises:
            NotFound: there is none.
            DatabaseUnavailable: there is none in the cells that answer.
        """
        return self._named(name)[1]

    def _named(self, name: str) -> tuple[Database, Service]:
        def ask(cell_db: Database) -> Sequence[Service]:
            if name.isdigit():
                return hosts.list_services(cell_db, number=int(name))
            return hosts.list_services(cell_db, uuid=name)

        return self._only(ask, f"Service {name} not found.")

    def change_compute(self, host: str, values: Mapping[str, Any]) -> Service:
        """Set fields of a host's compute service.

        Raises:
            NotFound: there is no such host.
        """
        cell_db, service = self._only(
            lambda db: hosts.list_services(db, binary=hosts.COMPUTE, host=host),
            f"Could not find binary {hosts.COMPUTE} on host {host}.",
        )
        return hosts.change_service(cell_db, service.uuid, values)

    def delete_service(self, name: str) -> Service:
        """Remove a service by its UUID or number, and its host from the aggregates and its cell.

        Returns it as it was.

        Raises:
            NotFound: there is none.
            Conflict: servers are on its host.
        """
        cell_db, service = self._named(name)
        if service.binary == hosts.COMPUTE:
            if hosted.hosts_with_servers(cell_db, [service.host]):
                raise Conflict(
                    f"Host {service.host} has servers. Migrate or delete them before its service."
                )
            aggregates.leave_all(self._api_db, service.host)
            unmap_host(self._api_db, service.host)
        hosts.delete_service(cell_db, service.uuid)
        return service
