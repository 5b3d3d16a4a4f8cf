"""What hosts say of guests and are told of them: with no field left at its default, and the least."""

from datetime import datetime

from kilonova.core import orders
from kilonova.core.console import ConsoleAddress
from kilonova.core.diagnostics import CpuTimes, Diagnostics, DiskFigures, DiskRole, NicFigures
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import InstanceUuid
from kilonova.core.tagged_devices import Placed
from kilonova.core.vitals import Allowance, Amounts, CpuUse, HostVitals, Share, Vitals

_UUID = InstanceUuid("11111111-1111-4111-8111-111111111111")
_NOON = datetime(2026, 5, 1, 12)

PLAIN_ORDERS = (
    orders.Stop(),
    orders.Start(),
    orders.SoftReboot(),
    orders.HardReboot(),
    orders.Pause(),
    orders.Unpause(),
    orders.Suspend(),
    orders.Resume(),
    orders.Unrescue(),
    orders.TriggerCrashDump(),
    orders.SoftDelete(),
    orders.Restore(),
)
"""Orders that say no more than what they are."""

EVENT = ExternalEvent(server_uuid=_UUID, name="network-vif-plugged", tag="port", status="failed")
LEAST_EVENT = ExternalEvent(server_uuid=_UUID, name="network-changed")

PLACED = Placed(key="52:54:0a:4d:00:05", bus="pci", address="0000:00:03.0", path="/dev/vda")
LEAST_PLACED = Placed(key="swap", bus="scsi", address="0:0:0:1")
VITALS = Vitals(
    instance_uuid=_UUID,
    at=_NOON,
    state="running",
    uptime=5,
    load=(0.5, 0.25, 0.125),
    cpu=CpuUse(total=50.5, user=30.0, system=20.5, wait=1.0),
    memory=Share(100, 512),
    swap=Share(1, 64),
    system_disk=Share(2, 1024),
    ephemeral_disk=Share(3, 2048),
    persistent_disk=Share(4, 4096),
    read_bytes=5,
    written_bytes=6,
    received_bytes=7,
    sent_bytes=8,
    above=(Allowance.MEMORY,),
)
LEAST_VITALS = Vitals(instance_uuid=_UUID, at=_NOON, state="running")
HOST_VITALS = HostVitals(
    at=_NOON,
    used=Amounts(cpus=0.5, memory_mb=100, disk_gb=1),
    reserved=Amounts(cpus=1.0, memory_mb=512, disk_gb=2),
    servers=(VITALS,),
)

FULL = (
    ConsoleAddress(host="192.0.2.9", port=5900, path="vm", tls_port=5901),
    Diagnostics(
        state="running",
        driver="libvirt",
        hypervisor="qemu",
        hypervisor_os="other",
        uptime=5,
        cpu_times=(7,),
        memory_maximum=512,
        memory_used=256,
        nics=(
            NicFigures(
                name="vnet0",
                mac_address="fa:16:3e:00:00:01",
                rx_octets=1,
                rx_packets=2,
                rx_errors=3,
                rx_drop=4,
                tx_octets=5,
                tx_packets=6,
                tx_errors=7,
                tx_drop=8,
            ),
        ),
        disks=(
            DiskFigures(
                name="vda",
                read_bytes=1,
                read_requests=2,
                write_bytes=3,
                write_requests=4,
                errors_count=5,
                role=DiskRole.SYSTEM,
                capacity=6,
                allocation=7,
            ),
        ),
        cpu_percents=(9,),
        cpu_time=CpuTimes(total=9, user=5, system=3, wait=1),
        memory_resident=200,
        memory_in_guest=100,
        swap=(1, 64),
        load=(0.5, 0.25, 0.125),
    ),
)
LEAST = (
    ConsoleAddress(host="192.0.2.9", port=5900),
    Diagnostics(state="running", driver="libvirt", hypervisor="qemu"),
)
