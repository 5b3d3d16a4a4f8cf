"""Migrations as the API shows them, by microversion."""

from datetime import datetime
from typing import Any

from kilonova.api.microversions import Since, Version
from kilonova.core.migration import IN_PROGRESS, Kind, Migration

_HOSTS = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")


def _moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _common(migration: Migration, version: Version, address: str | None = None) -> dict[str, Any]:
    chosen = migration.destination
    view: dict[str, Any] = {
        "id": migration.number,
        "status": migration.status,
        "source_compute": migration.source_host,
        "source_node": migration.source_node,
        "dest_compute": chosen.host if chosen else None,
        "dest_node": chosen.node if chosen else None,
        "dest_host": address,
        "created_at": _moment(migration.created_at),
        "updated_at": _moment(migration.updated_at),
    }
    if version in Since.MIGRATION_PAGES:
        view["uuid"] = migration.uuid
    if version in Since.MIGRATION_OWNERS:
        view |= {"user_id": migration.user_id, "project_id": migration.project_id}
    return view


def hostless(view: dict[str, Any]) -> dict[str, Any]:
    """Return a view for whom hosts are no concern of."""
    return view | dict.fromkeys(_HOSTS)


def listed(migration: Migration, version: Version, address: str | None) -> dict[str, Any]:
    """Return a migration of ``/os-migrations``; ``address`` is that of the host it goes to."""
    view = _common(migration, version, address) | {"instance_uuid": migration.instance_uuid}
    if version in Since.SERVER_MIGRATIONS:
        view["migration_type"] = migration.kind
    return view


def of_server(migration: Migration, version: Version) -> dict[str, Any]:
    """Return a live migration in progress, with how far it has come in bytes."""
    progress = migration.progress
    return _common(migration, version) | {
        "server_uuid": migration.instance_uuid,
        "memory_total_bytes": progress.memory_total,
        "memory_processed_bytes": progress.memory_processed,
        "memory_remaining_bytes": progress.memory_remaining,
        "disk_total_bytes": progress.disk_total,
        "disk_processed_bytes": progress.disk_processed,
        "disk_remaining_bytes": progress.disk_remaining,
    }


def is_in_progress(migration: Migration) -> bool:
    """Whether a migration can be looked at below its server."""
    return migration.kind is Kind.LIVE and migration.status in IN_PROGRESS
