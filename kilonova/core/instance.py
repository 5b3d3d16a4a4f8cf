"""The instance: what the API calls a server. One value from the build request to the hypervisor."""

from datetime import datetime

import msgspec

from kilonova.core.flavor import Flavor
from kilonova.core.ids import (
    CellUuid,
    HostName,
    ImageId,
    InstanceUuid,
    NodeName,
    ProjectId,
    RequestId,
    UserId,
)
from kilonova.core.image import Image
from kilonova.core.server_group import GroupRule
from kilonova.core.share import Share
from kilonova.core.states import PowerState, TaskState, VmState
from kilonova.core.volume import Volume


class BlockDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``block_device_mapping_v2``; ``volume_size`` is GiB, but MiB of a swap disk."""

    source_type: str
    destination_type: str
    boot_index: int | None = None
    uuid: str | None = None
    volume_size: int | None = None
    delete_on_termination: bool = False
    device_name: str | None = None
    disk_bus: str | None = None
    device_type: str | None = None
    guest_format: str | None = None
    tag: str | None = None
    volume_type: str | None = None


class RequestedNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``networks``."""

    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


class FixedAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a card has for as long as it is there, and the ``floating`` ones that lead to it.

    ``given`` is how its guest comes by it: ``dhcp``, ``slaac``, ``dhcpv6-stateful``, ``dhcpv6-stateless``,
    or ``static`` where nobody on the network tells.
    """

    address: str
    prefix: int
    subnet_id: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    floating: tuple[str, ...] = ()
    given: str = "dhcp"


class Plug(msgspec.Struct, frozen=True, kw_only=True):
    """How a port is connected to its host, as the network service says.

    ``kind`` is a vif type (``bridge``, ``ovs``, ``tap``, ``unbound`` ...), ``bridge`` the name of the
    host's bridge where that was said, ``device`` that of the guest's end. ``hybrid`` is set where the
    firewall needs a bridge of its own between the two; ``datapath`` is how a switch of Open vSwitch's
    works, where that was said.
    """

    kind: str
    bridge: str = ""
    device: str = ""
    hybrid: bool = False
    datapath: str = ""


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A network card of a server: its MAC address, and its first fixed address in the network ``network``,
    empty if it has none.

    ``network_id`` is a UUID; ``prefix`` the bits of the network's part of the address; ``dns`` and
    ``gateway`` are addresses. The rest is said of ports of a network service: ``fixed`` are all addresses,
    the first included, ``groups`` the names of the security groups, and ``is_active`` whether the
    network has connected it. ``is_ours`` is a port that was made for the server and goes with it.
    """

    network: str
    network_id: str
    mac: str
    address: str
    prefix: int
    gateway: str
    dns: str
    mtu: int = 1500
    tag: str | None = None
    port_id: str = ""
    fixed: tuple[FixedAddress, ...] = ()
    groups: tuple[str, ...] = ()
    plug: Plug | None = None
    is_active: bool = True
    is_ours: bool = True

    @property
    def addresses(self) -> tuple[FixedAddress, ...]:
        """All fixed addresses."""
        if self.fixed or not self.address:
            return self.fixed
        return (FixedAddress(address=self.address, prefix=self.prefix, subnet_id=self.network_id),)


class InjectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``personality``: an absolute path, and base64 as it came."""

    path: str
    contents: str


class KeyPair(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a user's. ``kind`` is ``ssh`` or ``x509``."""

    name: str
    kind: str
    fingerprint: str
    public_key: str


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for and no action changes: written once, carried whole.

    ``networks`` is ``"none"``, ``"auto"`` or a tuple of requests; ``user_data`` is base64 as it came;
    ``hints`` are the scheduler hints; ``pinned_zone`` the availability zone that was named, or None;
    ``group`` the rule of the server group that the server was created in. ``security_groups`` are as they
    were asked for, ``security_group_ids`` what the network service knows them by; none stand for its own
    default.
    """

    networks: str | tuple[RequestedNetwork, ...] = "none"
    block_devices: tuple[BlockDevice, ...] = ()
    user_data: str | None = None
    key_pair: KeyPair | None = None
    hints: dict[str, str | list[str]] = {}
    pinned_zone: str | None = None
    forced_host: HostName | None = None
    forced_node: NodeName | None = None
    security_groups: tuple[str, ...] = ()
    config_drive: bool = False
    trusted_certs: tuple[str, ...] | None = None
    disk_config: str = "AUTO"
    reservation_id: str = ""
    launch_index: int = 0
    admin_pass: str = ""
    files: tuple[InjectedFile, ...] = ()
    group: GroupRule | None = None
    security_group_ids: tuple[str, ...] = ()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One server. Times are UTC without a zone.

    ``epoch`` is the number of the build that counts; a host acts only for the epoch that the cell
    database holds. A guest that counts is of ``begun_epoch`` or later. ``host`` and ``node`` are None until
    a destination is chosen. ``nics`` are the network cards as its host last reported them. ``task_request``
    is the request that asked for the task under way, and ``task_worker`` whoever on the host has begun it.
    ``shelved_image`` is what a shelved server has become. ``volumes`` are disks that are not its host's,
    ``shares`` file systems that it has in common with others.
    A server that boots from a volume has an ``image`` without an id, which says what the volume's does.
    """

    uuid: InstanceUuid
    name: str
    hostname: str
    project_id: ProjectId
    user_id: UserId
    flavor: Flavor
    image: Image | None
    wishes: Wishes
    created_at: datetime
    updated_at: datetime | None = None
    launched_at: datetime | None = None
    terminated_at: datetime | None = None
    description: str | None = None
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    vm_state: VmState = VmState.BUILDING
    task_state: TaskState | None = TaskState.SCHEDULING
    power_state: PowerState = PowerState.NOSTATE
    host: HostName | None = None
    node: NodeName | None = None
    availability_zone: str | None = None
    access_ipv4: str | None = None
    access_ipv6: str | None = None
    root_device_name: str | None = None
    progress: int = 0
    locked_by: str | None = None
    locked_reason: str | None = None
    epoch: int = 0
    deleted: bool = False
    task_request: RequestId | None = None
    task_worker: str = ""
    begun_epoch: int = 0
    shelved_image: ImageId | None = None
    nics: tuple[Nic, ...] = ()
    volumes: tuple[Volume, ...] = ()
    shares: tuple[Share, ...] = ()


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a server is in ERROR: what ``fault`` shows. ``details`` is for administrators."""

    code: int
    message: str
    created_at: datetime
    details: str = ""


BUILD_EVENT = "compute__do_build_and_run_instance"
"""What a whole build on one host is called. The name is Nova's: clients look for it."""


class ActionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of an instance action. ``result`` is None until it is finished."""

    name: str
    started_at: datetime
    finished_at: datetime | None = None
    result: str | None = None
    details: str | None = None
    traceback: str | None = None
    host: str | None = None


class InstanceAction(msgspec.Struct, frozen=True, kw_only=True):
    """Something asked of a server, under one request id, with its stages."""

    action: str
    instance_uuid: InstanceUuid
    request_id: RequestId
    user_id: UserId
    project_id: ProjectId
    started_at: datetime
    updated_at: datetime | None = None
    message: str | None = None
    events: tuple[ActionEvent, ...] = ()


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """An instance with the cell that holds it (None while it is only a build request)."""

    instance: Instance
    cell_uuid: CellUuid | None
    fault: Fault | None = None
