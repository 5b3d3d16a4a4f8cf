"""Every message of the system, in the order in which a boot sends them.

A message is named after what it asks; the method that handles it carries the same name in snake case
and takes ``(context, message)``. Fields are added with defaults, or a new message is made. A golden file
(tests/unit/rpc/messages.json) pins the JSON of each.

    API                --BuildServers-------> super conductor
    super conductor    --SelectDestinations-> scheduler           answers Destinations
    super conductor    --BuildInstance------> compute host        over the cell's bus, as all below
    super conductor    --BuildInstances-----> compute host
    compute host       --ReportInstances----> cell conductor      answers ReportsTaken
    compute host       --ReportHost---------> cell conductor      answers Taken
    compute host       --ListInstances------> cell conductor      answers HostInstances
    kilonova-manage    --Ping---------------> cell conductor      answers Taken
    API                --SelectDestinations-> scheduler           a dry run; answers Destinations
    API                --ActOnInstance------> compute host        with one of the orders
    API                --StartMove----------> super conductor
    cell conductor     --MoveInstance-------> compute host
    API                --GetConsoleOutput---> compute host        answers ConsoleOutput
    API                --FindConsole--------> compute host        answers core's ConsoleAddress
    API                --Measure------------> compute host        answers core's Diagnostics
    API                --FindDevices--------> compute host        answers DevicesFound
    API                --TakeExternalEvents-> compute host
    API                --RunTask------------> super conductor
    super conductor    --SampleServers------> compute host        answers ServersSampled
    API                --CacheImages--------> compute host
"""

from enum import StrEnum
from typing import ClassVar

import msgspec

from kilonova.core.decision_record import DecisionRecord
from kilonova.core.external_event import ExternalEvent
from kilonova.core.host import NodeReport
from kilonova.core.ids import CellUuid, HostName, InstanceUuid, RequestId
from kilonova.core.image import Image
from kilonova.core.instance import Instance
from kilonova.core.migration import Migration
from kilonova.core.operator_task import TaskQueue
from kilonova.core.orders import AnyOrder
from kilonova.core.report import InstanceReport
from kilonova.core.scheduling import Decision, Destination, RequestSpec
from kilonova.core.tagged_devices import Placed
from kilonova.core.vitals import HostVitals, Vitals


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


class RunTask(Message, frozen=True, kw_only=True):
    """Do an operator's task. It may be lost, repeated or late: the API database holds the truth."""

    topic: ClassVar[Topic] = Topic.CONDUCTOR
    task_id: str
    queue: TaskQueue


# ---- super conductor or API -> scheduler


class SelectDestinations(Message, frozen=True, kw_only=True):
    """Choose and claim a host for each of these servers, which are all alike.

    A dry run claims nothing: the API asks for one to plan, and a conductor that exchanges what a server
    holds that moves. ``epochs`` are, in the same order, the builds that it is for: nobody claims for an
    earlier one after.
    """

    topic: ClassVar[Topic] = Topic.SCHEDULER
    spec: RequestSpec
    instance_uuids: tuple[InstanceUuid, ...]
    alternates: int = 2
    dry_run: bool = False
    epochs: tuple[int, ...] = ()


class Destinations(msgspec.Struct, frozen=True, kw_only=True):
    """One decision for each server that was asked for, in that order, and how they came about."""

    decisions: tuple[Decision, ...]
    record: DecisionRecord | None = None


# ---- super conductor or cell conductor -> compute host


class BuildInstance(Message, frozen=True, kw_only=True):
    """Build this server here, if ``instance.epoch`` is still the one that counts.

    ``alternates`` go back with a failure, so that nobody has to schedule again.
    """

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance
    destination: Destination
    alternates: tuple[Destination, ...] = ()


class BuildInstances(Message, frozen=True, kw_only=True):
    """Build several servers here, each under the request that asked for it."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    builds: tuple[BuildInstance, ...]
    request_ids: tuple[RequestId, ...]


# ---- API -> super conductor, cell conductor -> compute host: servers that move


class StartMove(Message, frozen=True, kw_only=True):
    """Find a destination for the migration that stands in this cell's database under this UUID."""

    topic: ClassVar[Topic] = Topic.CONDUCTOR
    cell_uuid: CellUuid
    migration: str


class MoveInstance(Message, frozen=True, kw_only=True):
    """Do this host's part of a move, which the stage of the migration says, if it is still due.

    ``instance`` is the server in the size in which the host has to do with it.
    """

    topic: ClassVar[Topic] = Topic.COMPUTE
    migration: Migration
    instance: Instance


class GuideMove(Message, frozen=True, kw_only=True):
    """``abort`` or ``force`` the live migration that this host has in hand."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    migration: str
    wish: str


# ---- API -> compute host


class DeleteInstance(Message, frozen=True, kw_only=True):
    """Remove the guest and all that belongs to it, then report it gone."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance


class ActOnInstance(Message, frozen=True, kw_only=True):
    """Do what the order says with this server, if the request is still the one whose task is under way."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance: Instance
    order: AnyOrder


class GetConsoleOutput(Message, frozen=True, kw_only=True):
    """Read the last ``length`` lines of the serial console; None is all of them."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance_uuid: InstanceUuid
    length: int | None = None


class ConsoleOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What the console said."""

    text: str


class FindConsole(Message, frozen=True, kw_only=True):
    """Say where a guest's console of a type is; answered with a ``ConsoleAddress``."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance_uuid: InstanceUuid
    kind: str


class Measure(Message, frozen=True, kw_only=True):
    """Measure a guest; answered with ``Diagnostics``."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance_uuid: InstanceUuid


class FindDevices(Message, frozen=True, kw_only=True):
    """Say where a guest's cards and disks are in its machine."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    instance_uuid: InstanceUuid


class DevicesFound(msgspec.Struct, frozen=True, kw_only=True):
    """Where those are that have a place."""

    devices: tuple[Placed, ...]


class SampleServers(Message, frozen=True, kw_only=True):
    """Say how your servers are, as you saw them last."""

    topic: ClassVar[Topic] = Topic.COMPUTE


class ServersSampled(msgspec.Struct, frozen=True, kw_only=True):
    """How a host's servers are."""

    servers: tuple[Vitals, ...]


class TakeExternalEvents(Message, frozen=True, kw_only=True):
    """Other services say that this happened to servers of yours."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    events: tuple[ExternalEvent, ...]


class CacheImages(Message, frozen=True, kw_only=True):
    """Fetch these images, so that they are here when servers are built from them."""

    topic: ClassVar[Topic] = Topic.COMPUTE
    images: tuple[Image, ...]


# ---- compute host -> cell conductor


class ReportInstances(Message, frozen=True, kw_only=True):
    """What happened on a host since the last report, in order. Safe to repeat."""

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
    host: HostName
    reports: tuple[InstanceReport, ...]


class ReportsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """The places (indexes) of the reports that were refused: their epoch no longer counts, or the
    server is being deleted, or ``unfit`` says why the build must not begin there: it failed."""

    refused: tuple[int, ...] = ()
    unfit: dict[int, str] = {}


class ReportHost(Message, frozen=True, kw_only=True):
    """A sign of life of a compute host, with what it has when that changed (None: as before), and now and
    then with how its servers are (None: not now)."""

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
    host: HostName
    nodes: tuple[NodeReport, ...] | None = None
    vitals: HostVitals | None = None


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
    is in neither list the cell knows nothing. Those of them that are ``kept`` are only to stand still:
    their servers are being evacuated, and are the asker's again if no other host can make them. What there
    is of those that are ``moving`` is their move's affair, which goes on by itself. ``start`` is greater
    each time one is starting: its reports are numbered from there, above all that came before.
    """

    instances: tuple[Instance, ...]
    disowned: tuple[InstanceUuid, ...] = ()
    moving: tuple[InstanceUuid, ...] = ()
    start: int = 0
    kept: tuple[InstanceUuid, ...] = ()


# ---- kilonova-manage -> cell conductor


class Ping(Message, frozen=True, kw_only=True):
    """Is there a conductor on this bus, and does its database answer it?"""

    topic: ClassVar[Topic] = Topic.CELL_CONDUCTOR
