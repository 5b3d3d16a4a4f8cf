"""Every message of the system, in the order in which a boot sends them.

A message is named after what it asks; the method that handles it carries the same name in snake case
and takes ``(context, message)``. Fields are added with defaults, or a new message is made. A golden file
(tests/unit/rpc/messages.json) pins the JSON of each.

    API                --BuildServers-------> super conductor
    super conductor    --SelectDestinations-> scheduler           answers Destinations
    super conductor    --BuildInstance------> compute host        over the cell's bus, as all below
    compute host       --ReportInstances----> cell conductor      answers ReportsTaken
    compute host       --ReportHost---------> cell conductor      answers Taken
    compute host       --ListInstances------> cell conductor      answers HostInstances
    API                --StopInstance, ... -> compute host
    API                --GetConsoleOutput---> compute host        answers ConsoleOutput
"""

from enum import StrEnum
from typing import ClassVar

import msgspec

from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.scheduling import Decision, Destination, RequestSpec


class Topic(StrEnum):
    """Who listens. Only ``COMPUTE`` is addressed to one host."""

    CONDUCTOR = "conductor"
    SCHEDULER = "scheduler"
    CELL_CONDUCTOR = "cell_conductor"
    COMPUTE = "compute"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The root of all messages."""

    topic: ClassVar[Topic]


# ---- API -> super conductor


class BuildServers(Message, frozen=True, kw_only=True):
    """Build the servers whose build requests stand in the API database under these UUIDs.

    It names them only: the database holds the truth, so the message may be lost, repeated or late.
    """

    topic: ClassVar[Topic] = Topic.CONDUCTOR
    instance_uuids: tuple[InstanceUuid, ...]


# ---- super conductor -> scheduler


class SelectDestinations(Message, frozen=True, kw_only=True):
    """Choose and claim a host for each of these servers, which are all alike.

    ``epochs`` are, in the same order, the builds that it is for: nobody claims for an earlier one after.
    """

    topic: ClassVar[Topic] = Topic.SCHEDULER
    spec: RequestSpec
    instance_uuids: tuple[InstanceUuid, ...]
    alternates: int = 2
    epochs: tuple[int, ...] = ()


class Destinations(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for each server that was asked for, in that order."""

    decisions: tuple[Decision, ...]


# ---- super conductor or cell conductor -> compute host


class BuildInstance(Message, frozen=True, kw_only=True):
    """Build this server here, if ``instance.epoch`` is still the one that counts.

    ``alternates`` go back with a failure, so that nobody has to schedule again.
    """

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance
    destination: Destination
    alternates: tuple[Destination, ...] = ()


# ---- API -> compute host


class DeleteInstance(Message, frozen=True, kw_only=True):
    """Remove the guest and all that belongs to it, then report it gone."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance


class StopInstance(Message, frozen=True, kw_only=True):
    """Shut the guest down: ask it first, then force it."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance


class StartInstance(Message, frozen=True, kw_only=True):
    """Start a stopped guest."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance


class RebootInstance(Message, frozen=True, kw_only=True):
    """Reboot the guest; ``hard`` makes it anew from what is stored."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance
    hard: bool = False


class GetConsoleOutput(Message, frozen=True, kw_only=True):
    """Read the last ``length`` lines of the serial console; None is all of them."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance_uuid: InstanceUuid
    length: int | None = None


class ConsoleOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What the console said."""

    text: str


# ---- compute host -> cell conductor


class ReportInstances(Message, frozen=True, kw_only=True):
    """What happened on a host since the last report, in order. Safe to repeat."""

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
    host: HostName
    reports: tuple[InstanceReport, ...]


class ReportsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """The places (indexes) of the reports that were refused: their epoch no longer counts, or the
    server is being deleted."""

    refused: tuple[int, ...] = ()


class ReportHost(Message, frozen=True, kw_only=True):
    """A sign of life of a compute host, with what it has when that changed (None: as before)."""

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
    host: HostName
    nodes: tuple[NodeReport, ...] | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Stored."""


class ListInstances(Message, frozen=True, kw_only=True):
    """Which servers should this host have? Asked when it starts, before it does anything else, and later.

    ``guests`` are those that it has. One that is ``starting`` wants the number of its start, with which it
    asks again: from then on nothing counts that an earlier start of it began.
    """

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
    host: HostName
    guests: tuple[InstanceUuid, ...] = ()
    starting: bool = False
    start: int = 0


class HostInstances(msgspec.Struct, frozen=True, kw_only=True):
    """Every server that is not deleted and whose host is the asker.

    ``disowned`` are those of the asker's guests whose server is deleted, or another host's. Of a guest that
    is in neither list the cell knows nothing. ``start`` is greater each time one is starting: its reports
    are numbered from there, above all that came before.
    """

    instances: tuple[Instance, ...]
    disowned: tuple[InstanceUuid, ...] = ()
    start: int = 0
