"""What a compute host says happened to one of its servers."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from kilonova.core.ids import ImageId, InstanceUuid, RequestId
from kilonova.core.instance import ActionEvent, Fault, Nic
from kilonova.core.migration import MoveReport
from kilonova.core.scheduling import Destination
from kilonova.core.server_group import GroupRule
from kilonova.core.share import ShareReport
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.core.volume import VolumeReport

REPORTS_OF_A_START = 1 << 32
"""A host's ``n``-th start numbers its reports from so many times ``n``."""


class BuildFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A build that did not succeed on its host.

    ``reason`` is fit for the tenant, ``details`` for the operator. With ``retry`` the next of
    ``alternates`` is tried; one that was only ``interrupted`` may go on where it was.
    """

    reason: str
    details: str = ""
    retry: bool = True
    interrupted: bool = False
    alternates: tuple[Destination, ...] = ()


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to one server. What is UNSET stays as it was.

    ``builder`` is set in the report with which a build begins: the epoch is compared and set for it in
    the cell database, and only a report that is not refused may spawn; ``group`` in it is the rule of the
    server's group, which is checked there too. A report with ``gone`` says that nothing of the server is
    left on the host. One with ``if_idle`` tells what a guest did by itself: it is refused while a task is
    under way, and for a server that is not what its guest's power says.

    ``worker`` is who does the task of ``request_id``: the report is refused unless that task is under way,
    and nobody else's. Whoever begins a task sends such a report first and does nothing if it is refused.
    ``image_id`` is the image that the action is about: it is made, or the guest is rescued from it;
    ``share_id`` the share that comes or goes with it, ``port_id`` the port of the network card that does.
    A report with ``port_id`` that is not ``over`` is refused unless the order about the card still counts.
    ``move`` is about a move, and of the rest of the report only the events and the power count beside it.
    ``volume`` is about a volume, and of the rest only the request and the events count beside it.
    ``share`` is about a share, likewise.
    ``over`` says that the action of ``request_id`` has ended, ``interrupted`` why it ended on the way.
    ``password`` is the administrator's, sealed for the owner's key.

    ``number`` grows with every report of a host, across its restarts: one that comes after a later one
    changes nothing any more. 0 is none.
    """

    instance_uuid: InstanceUuid
    epoch: int
    request_id: RequestId
    builder: str = ""
    vm_state: VmState | UnsetType = UNSET
    task_state: TaskState | UnsetType | None = UNSET
    power_state: PowerState | UnsetType = UNSET
    launched_at: datetime | UnsetType = UNSET
    root_device_name: str | UnsetType = UNSET
    nics: tuple[Nic, ...] | UnsetType = UNSET
    fault: Fault | None = None
    failure: BuildFailure | None = None
    gone: bool = False
    if_idle: bool = False
    group: GroupRule | None = None
    events: tuple[ActionEvent, ...] = ()
    password: str | UnsetType = UNSET
    worker: str = ""
    over: bool = False
    interrupted: str = ""
    image_id: ImageId | None = None
    share_id: str = ""
    port_id: str = ""
    move: MoveReport | None = None
    volume: VolumeReport | None = None
    share: ShareReport | None = None
    number: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether it is of something whose start was reported by itself, before its end."""
        return bool(self.worker or self.port_id)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a conductor did about a failed build, as further events of the request's action."""

    request_id: RequestId
    events: tuple[ActionEvent, ...]
