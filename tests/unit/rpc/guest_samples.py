"""What hosts say of guests and are told of them: with no field left at its default, and the least."""

from kilonova.core import orders
from kilonova.core.console import ConsoleAddress
from kilonova.core.diagnostics import Diagnostics, DiskFigures, NicFigures
from kilonova.core.external_event import ExternalEvent
from kilonova.core.ids import InstanceUuid

_UUID = InstanceUuid("11111111-1111-4111-8111-111111111111")

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
    orders.Rebuild(),
    orders.TriggerCrashDump(),
)
"""Orders that say no more than what they are."""

EVENT = ExternalEvent(server_uuid=_UUID, name="network-vif-plugged", tag="port", status="failed")
LEAST_EVENT = ExternalEvent(server_uuid=_UUID, name="network-changed")

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
            ),
        ),
    ),
)
LEAST = (
    ConsoleAddress(host="192.0.2.9", port=5900),
    Diagnostics(state="running", driver="libvirt", hypervisor="qemu"),
)
