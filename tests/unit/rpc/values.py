"""Values of which messages are made, with no field left at its default, and the least that each can be."""

from datetime import datetime

from kilonova.core import decision_record, orders
from kilonova.core.decision_record import ClaimRound, DecisionRecord, Scored
from kilonova.core.flavor import Flavor
from kilonova.core.host import NodeReport
from kilonova.core.ids import (
    CellUuid,
    FlavorId,
    HostName,
    ImageId,
    InstanceUuid,
    NodeName,
    ProjectId,
    ProviderUuid,
    RequestId,
    UserId,
)
from kilonova.core.image import Image
from kilonova.core.instance import (
    ActionEvent,
    Fault,
    InjectedFile,
    Instance,
    KeyPair,
    RequestedNetwork,
    Wishes,
)
from kilonova.core.migration import Kind, Migration, Moved, MoveReport, Stage
from kilonova.core.report import BuildFailure, InstanceReport
from kilonova.core.scheduling import (
    Destination,
    Inventory,
    NoHost,
    NumaCell,
    PciPool,
    Reason,
    RequestSpec,
)
from kilonova.core.server_group import GroupRule
from kilonova.core.states import PowerState, TaskState, VmState
from tests.unit.rpc.move_values import BERTH, PROGRESS
from tests.unit.rpc.network_values import NIC
from tests.unit.rpc.share_samples import SHARE, SHARE_ORDERS, SHARE_REPORT
from tests.unit.rpc.volume_samples import DEVICE, VOLUME, VOLUME_ORDERS, VOLUME_REPORT

UUID = InstanceUuid("11111111-1111-4111-8111-111111111111")
OTHER = InstanceUuid("22222222-2222-4222-8222-222222222222")
CELL = CellUuid("33333333-3333-4333-8333-333333333333")
PROVIDER = ProviderUuid("44444444-4444-4444-8444-444444444444")
PROJECT, USER = ProjectId("project"), UserId("user")
HOST, NODE = HostName("host1"), NodeName("host1.example")
REQUEST = RequestId("req-55555555-5555-4555-8555-555555555555")
MORNING, NOON = datetime(2026, 5, 1, 9, 30), datetime(2026, 5, 1, 12, 0, 0, 250000)

FLAVOR = Flavor(
    flavor_id=FlavorId("42"),
    name="m1.odd",
    vcpus=2,
    memory_mb=2048,
    root_gb=20,
    ephemeral_gb=5,
    swap_mb=512,
    rxtx_factor=2.5,
    is_public=False,
    disabled=True,
    description="odd",
    extra_specs={"capabilities:cpu_arch": "s== x86_64"},
)
LEAST_FLAVOR = Flavor(flavor_id=FlavorId("1"), name="f", vcpus=1, memory_mb=512, root_gb=1)
IMAGE = Image(
    image_id=ImageId("66666666-6666-4666-8666-666666666666"),
    name="guest",
    status="deactivated",
    size=1048576,
    virtual_size=2097152,
    min_ram=64,
    min_disk=1,
    disk_format="raw",
    container_format="ovf",
    checksum="0cc175b9",
    hash_algo="sha512",
    hash_value="1f40fc92",
    owner="project",
    visibility="shared",
    properties={"hw_architecture": "x86_64"},
)
NETWORK = RequestedNetwork(
    network_id="net", port_id="port", fixed_ip="192.0.2.7", tag="front"
)  # fmt: skip
GROUP = GroupRule(group_uuid="g", policy="anti-affinity", max_server_per_host=2)
WISHES = Wishes(
    networks=(NETWORK,),
    block_devices=(DEVICE,),
    user_data="aGVsbG8=",
    key_pair=KeyPair(name="k", kind="ssh", fingerprint="00:11", public_key="ssh-ed25519 AAAA"),
    hints={"group": "g", "different_host": ["a", "b"]},
    pinned_zone="z1",
    forced_host=HOST,
    forced_node=NODE,
    security_groups=("web",),
    security_group_ids=("77777777-7777-4777-8777-777777777777",),
    config_drive=True,
    trusted_certs=("cert",),
    disk_config="MANUAL",
    reservation_id="r-abc",
    launch_index=3,
    admin_pass="secret",
    files=(InjectedFile(path="/etc/motd", contents="aGVsbG8="),),
    group=GROUP,
)
INSTANCE = Instance(
    uuid=UUID,
    name="vm",
    hostname="vm-host",
    project_id=PROJECT,
    user_id=USER,
    flavor=FLAVOR,
    image=IMAGE,
    wishes=WISHES,
    created_at=MORNING,
    updated_at=NOON,
    launched_at=NOON,
    terminated_at=NOON,
    description="a server",
    metadata={"role": "db"},
    tags=("blue",),
    vm_state=VmState.STOPPED,
    task_state=TaskState.POWERING_ON,
    power_state=PowerState.SHUTDOWN,
    host=HOST,
    node=NODE,
    availability_zone="z1",
    access_ipv4="192.0.2.1",
    access_ipv6="2001:db8::1",
    root_device_name="/dev/vda",
    progress=50,
    locked_by="owner",
    locked_reason="careful",
    epoch=2,
    deleted=True,
    task_request=REQUEST,
    task_worker="token",
    begun_epoch=2,
    shelved_image=IMAGE.image_id,
    nics=(NIC,),
    volumes=(VOLUME,),
    shares=(SHARE,),
)
LEAST_INSTANCE = Instance(
    uuid=UUID,
    name="vm",
    hostname="vm",
    project_id=PROJECT,
    user_id=USER,
    flavor=LEAST_FLAVOR,
    image=None,
    wishes=Wishes(),
    created_at=MORNING,
)
DESTINATION = Destination(
    host=HOST,
    node=NODE,
    cell_uuid=CELL,
    provider_uuid=PROVIDER,
    availability_zone="z1",
    allocation={PROVIDER: {"VCPU": 2, "MEMORY_MB": 2048}},
)
SPEC = RequestSpec(
    project_id=PROJECT,
    user_id=USER,
    flavor=FLAVOR,
    image=IMAGE,
    availability_zone="z1",
    hints={"group": "g"},
    forced_host=HOST,
    forced_node=NODE,
    boots_from_volume=True,
    group=GROUP,
    moves_from=CELL,
    ignored_hosts=(HOST,),
    unjudged=True,
)
LEAST_SPEC = RequestSpec(project_id=PROJECT, user_id=USER, flavor=LEAST_FLAVOR, image=None)
NO_HOST = NoHost(
    considered=3,
    reasons=(
        Reason(
            refused_by="MEMORY_MB",
            sentence="lack MEMORY_MB",
            hosts=3,
            nearest_miss="needs 2048, the best has 1024 free",
            short_by=1024.0,
        ),
    ),
)
RECORD = DecisionRecord(
    servers=2,
    placed=1,
    considered=3,
    passed=1,
    flavor="m1.odd",
    wanted={"MEMORY_MB": 2048},
    refused=NO_HOST.reasons,
    best=(Scored(host=HOST, node=NODE, total=1.5, parts={"RAMWeigher": 1.5}),),
    claims=(ClaimRound(asked=2, granted=1, refused={"no room": 1}),),
    stages=(decision_record.Stage(name="claim", began_at=NOON, seconds=0.25),),
)
EVENT = ActionEvent(
    name="compute_spawn",
    started_at=MORNING,
    finished_at=NOON,
    result="Error",
    details="no luck",
    traceback="Traceback",
    host=HOST,
)
MIGRATION = Migration(
    uuid=OTHER,
    instance_uuid=UUID,
    kind=Kind.LIVE,
    source_host=HOST,
    source_node=NODE,
    source_zone="z1",
    old_flavor=FLAVOR,
    new_flavor=FLAVOR,
    vm_state=VmState.STOPPED,
    epoch=2,
    guest_epoch=1,
    request_id=REQUEST,
    user_id=USER,
    project_id=PROJECT,
    created_at=MORNING,
    updated_at=NOON,
    number=7,
    stage=Stage.SENDING,
    status="running",
    attempt=1,
    destination=DESTINATION,
    alternates=(DESTINATION,),
    source_allocation={PROVIDER: {"VCPU": 2}},
    requested_host=HOST,
    forced=True,
    block_migration=True,
    stays_off=True,
    outcome="error",
    reason="no luck",
    details="at host1",
    wish="abort",
    progress=PROGRESS,
    settled=True,
    image=IMAGE,
    berth=BERTH,
    unsent=True,
)
LEAST_MIGRATION = Migration(
    uuid=OTHER,
    instance_uuid=UUID,
    kind=Kind.MIGRATION,
    source_host=HOST,
    source_node=NODE,
    source_zone="z1",
    old_flavor=LEAST_FLAVOR,
    new_flavor=LEAST_FLAVOR,
    vm_state=VmState.ACTIVE,
    epoch=1,
    guest_epoch=1,
    request_id=REQUEST,
    user_id=USER,
    project_id=PROJECT,
    created_at=MORNING,
    updated_at=NOON,
)
MOVE_REPORT = MoveReport(
    left=True,
    migration=OTHER,
    stage=Stage.SENDING,
    attempt=1,
    moved=Moved.FAILED,
    reason="no luck",
    details="at host1",
    progress=PROGRESS,
    berth=BERTH,
)
REPORT = InstanceReport(
    instance_uuid=UUID,
    epoch=2,
    request_id=REQUEST,
    builder="token",
    vm_state=VmState.ERROR,
    task_state=TaskState.SPAWNING,
    power_state=PowerState.CRASHED,
    launched_at=NOON,
    root_device_name="/dev/vda",
    nics=(NIC,),
    fault=Fault(code=500, message="no luck", created_at=NOON, details="at host1"),
    failure=BuildFailure(
        reason="no luck",
        details="at host1",
        retry=False,
        interrupted=True,
        alternates=(DESTINATION,),
    ),
    if_idle=True,
    gone=True,
    group=GROUP,
    events=(EVENT,),
    password="sealed",
    worker="token",
    over=True,
    interrupted="no luck",
    image_id=ImageId("image"),
    move=MOVE_REPORT,
    volume=VOLUME_REPORT,
    share=SHARE_REPORT,
    share_id=SHARE.share_id,
    port_id="port-7",
    number=7,
)
LEAST_REPORT = InstanceReport(instance_uuid=UUID, epoch=1, request_id=REQUEST)
NODE_REPORT = NodeReport(
    node=NODE,
    provider_uuid=PROVIDER,
    hypervisor_type="QEMU",
    hypervisor_version=7002000,
    host_ip="192.0.2.9",
    vcpus=8,
    memory_mb=16384,
    disk_gb=200,
    vcpus_used=2,
    memory_mb_used=2048,
    disk_gb_used=20,
    running_vms=1,
    cpu_info='{"arch": "x86_64"}',
    inventory={
        "VCPU": Inventory(
            total=8, reserved=1, min_unit=2, max_unit=8, step_size=2, allocation_ratio=4.0
        )
    },
    traits=("COMPUTE_NODE",),
    capabilities={"cpu_arch": "x86_64"},
    supported=(("x86_64", "qemu", "hvm"),),
    booted_at=MORNING,
    servers=2,
    busy=1,
    failed_builds=3,
    metrics={"cpu.percent": 0.25},
    image_properties={"os_distro=debian": 2},
    pci=(PciPool(alias="gpu", free=1, numa_cell=2),),
    numa=(
        NumaCell(
            number=1,
            cpus=4,
            whole_cores=2,
            threads_per_core=2,
            single_cpus=1,
            memory_mb=8192,
            pages={2048: 64},
        ),
    ),
)
LEAST_NODE_REPORT = NodeReport(
    node=NODE,
    provider_uuid=PROVIDER,
    hypervisor_type="QEMU",
    hypervisor_version=7002000,
    host_ip="192.0.2.9",
    vcpus=8,
    memory_mb=16384,
    disk_gb=200,
)

ORDERS = (
    orders.Rescue(image=IMAGE),
    orders.Snapshot(image_id=IMAGE.image_id),
    orders.Backup(image_id=IMAGE.image_id, backup_type="daily", rotation=2),
    orders.ChangePassword(password="secret"),
    *VOLUME_ORDERS,
    *SHARE_ORDERS,
    orders.AttachInterface(port_id="port", tag="front"),
    orders.DetachInterface(port_id="port"),
)
