"""Placement's database. Providers, classes and traits are named by what the API calls them, so a claim
needs no look-up."""

import random
from datetime import datetime

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kilonova.core.clock import utcnow
from kilonova.db.types import BigId, Moment, Name, Uuid


class PlacementBase(DeclarativeBase):
    """The tables of Placement's database."""


LAST_SPOT = (1 << 62) - 1


def random_spot() -> int:
    """Return a place between 0 and ``LAST_SPOT``."""
    return random.randint(0, LAST_SPOT)


class Provider(PlacementBase):
    """A resource provider: one node of a tree.

    ``root_uuid`` names the top of its tree, itself where it has no parent, so that a tree is one look-up.
    ``generation`` grows, and ``updated_at`` (UTC) is set, whenever it, what it offers or what is used of
    it is changed. ``spot`` is a random number that it keeps, and ``root_spot`` the same of a root alone:
    those who look for a few roots begin anywhere in its index, so that nobody sorts the fleet and no root
    is always the first.
    """

    __tablename__ = "resource_providers"
    __table_args__ = (Index("resource_providers_roots", "root_spot", "uuid"),)

    uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    generation: Mapped[int] = mapped_column(default=0)
    parent_uuid: Mapped[str | None] = mapped_column(
        ForeignKey("resource_providers.uuid"), default=None, index=True
    )
    root_uuid: Mapped[str] = mapped_column(Uuid, index=True)
    spot: Mapped[int] = mapped_column(BigId, default=random_spot)
    root_spot: Mapped[int | None] = mapped_column(
        BigId, Computed("CASE WHEN root_uuid = uuid THEN spot END", persisted=True)
    )
    updated_at: Mapped[datetime] = mapped_column(Moment, default=utcnow)


class StoredInventory(PlacementBase):
    """How much of a class a provider has, and how much of it is used.

    ``used`` is the sum of the allocations, changed in the transaction that changes them; ``capacity`` is
    ``(total - reserved) * allocation_ratio``; ``free`` is what is left, kept by the database and
    indexed, so that looking for room reads only providers that have it.
    """

    __tablename__ = "inventories"
    __table_args__ = (
        Index("inventories_room", "resource_class", "free", "provider_uuid"),
        CheckConstraint("used >= 0", name="inventories_used"),
    )

    provider_uuid: Mapped[str] = mapped_column(
        ForeignKey("resource_providers.uuid"), primary_key=True
    )
    resource_class: Mapped[str] = mapped_column(Name, primary_key=True)
    total: Mapped[int]
    reserved: Mapped[int]
    min_unit: Mapped[int]
    max_unit: Mapped[int]
    step_size: Mapped[int]
    allocation_ratio: Mapped[float]
    capacity: Mapped[int] = mapped_column(BigId)
    used: Mapped[int] = mapped_column(BigId, default=0)
    free: Mapped[int | None] = mapped_column(BigId, Computed("capacity - used", persisted=True))


class Consumer(PlacementBase):
    """Who holds allocations: one server, or one migration.

    ``updated_at`` (UTC) is when its allocations were last replaced. ``consumer_type`` is ``unknown`` where
    the client named none. ``fence`` is the greatest that anybody claimed under.
    """

    __tablename__ = "consumers"
    __table_args__ = (Index("consumers_project", "project_id", "user_id"),)

    uuid: Mapped[str] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[str] = mapped_column(Name)
    user_id: Mapped[str] = mapped_column(Name)
    consumer_type: Mapped[str] = mapped_column(Name, default="unknown")
    generation: Mapped[int] = mapped_column(default=1)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=utcnow)
    fence: Mapped[int] = mapped_column(default=0, server_default="0")


class StoredAllocation(PlacementBase):
    """What one consumer uses of one class of one provider."""

    __tablename__ = "allocations"

    consumer_uuid: Mapped[str] = mapped_column(ForeignKey("consumers.uuid"), primary_key=True)
    provider_uuid: Mapped[str] = mapped_column(
        ForeignKey("resource_providers.uuid"), primary_key=True, index=True
    )
    resource_class: Mapped[str] = mapped_column(Name, primary_key=True)
    used: Mapped[int]


class ProviderTrait(PlacementBase):
    """A trait that a provider has."""

    __tablename__ = "provider_traits"

    provider_uuid: Mapped[str] = mapped_column(
        ForeignKey("resource_providers.uuid", ondelete="CASCADE"), primary_key=True
    )
    trait: Mapped[str] = mapped_column(Name, primary_key=True, index=True)


class ProviderAggregate(PlacementBase):
    """An aggregate that a provider is in."""

    __tablename__ = "provider_aggregates"

    provider_uuid: Mapped[str] = mapped_column(
        ForeignKey("resource_providers.uuid", ondelete="CASCADE"), primary_key=True
    )
    aggregate_uuid: Mapped[str] = mapped_column(Uuid, primary_key=True, index=True)


class CustomName(PlacementBase):
    """A ``CUSTOM_`` resource class or trait; ``kind`` is ``class`` or ``trait``."""

    __tablename__ = "custom_names"

    kind: Mapped[str] = mapped_column(Name, primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
