"""One value of every message, with no field left at its default, and the least that each can be."""

from kilonova.core import orders
from kilonova.core.console import ConsoleAddress
from kilonova.core.context import RequestContext
from kilonova.core.diagnostics import Diagnostics, DiskFigures, NicFigures
from kilonova.core.external_event import ExternalEvent
from kilonova.core.scheduling import Decision
from kilonova.rpc import messages as m
from tests.unit.rpc.values import (
    CELL,
    DESTINATION,
    HOST,
    INSTANCE,
    LEAST_INSTANCE,
    LEAST_MIGRATION,
    LEAST_REPORT,
    LEAST_SPEC,
    MIGRATION,
    NO_HOST,
    NODE_REPORT,
    ORDERS,
    OTHER,
    PLAIN_ORDERS,
    PROJECT,
    RECORD,
    REPORT,
    REQUEST,
    SPEC,
    USER,
    UUID,
)

FULL = (
    RequestContext(
        request_id=REQUEST,
        global_request_id="req-88888888-8888-4888-8888-888888888888",
        user_id=USER,
        project_id=PROJECT,
        roles=("admin", "member"),
        system_scope="all",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    m.BuildServers(instance_uuids=(UUID, OTHER)),
    m.SelectDestinations(spec=SPEC, instance_uuids=(UUID, OTHER), alternates=5, dry_run=True),
    m.Destinations(
        decisions=(
            Decision(
                instance_uuid=UUID,
                destination=DESTINATION,
                alternates=(DESTINATION,),
                no_host=NO_HOST,
            ),
        ),
        record=RECORD,
    ),
    m.BuildInstance(instance=INSTANCE, destination=DESTINATION, alternates=(DESTINATION,)),
    m.StartMove(cell_uuid=CELL, migration=OTHER),
    m.MoveInstance(migration=MIGRATION, instance=INSTANCE),
    m.GuideMove(migration=OTHER, wish="abort"),
    m.DeleteInstance(instance=INSTANCE),
    m.ActOnInstance(instance=INSTANCE, order=orders.Stop()),
    *PLAIN_ORDERS,
    *ORDERS,
    m.FindConsole(instance_uuid=UUID, kind="novnc"),
    ConsoleAddress(host="192.0.2.9", port=5900, path="vm", tls_port=5901),
    m.Measure(instance_uuid=UUID),
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
    m.TakeExternalEvents(
        events=(
            ExternalEvent(
                server_uuid=UUID, name="network-vif-plugged", tag="port", status="failed"
            ),
        )
    ),
    m.GetConsoleOutput(instance_uuid=UUID, length=25),
    m.ConsoleOutput(text="login:\n"),
    m.ReportInstances(host=HOST, reports=(REPORT,)),
    m.ReportsTaken(refused=(0, 2), unfit={2: "too many"}),
    m.ReportHost(host=HOST, nodes=(NODE_REPORT,)),
    m.Taken(),
    m.ListInstances(host=HOST, guests=(UUID,)),
    m.HostInstances(instances=(INSTANCE,), disowned=(UUID,), moving=(OTHER,)),
)
"""Every struct that travels by itself, in the order of kilonova/rpc/messages.py."""

LEAST = (
    RequestContext(request_id=REQUEST),
    m.BuildServers(instance_uuids=(UUID,)),
    m.SelectDestinations(spec=LEAST_SPEC, instance_uuids=(UUID,)),
    m.Destinations(decisions=(Decision(instance_uuid=UUID),)),
    m.BuildInstance(instance=LEAST_INSTANCE, destination=DESTINATION),
    m.StartMove(cell_uuid=CELL, migration=OTHER),
    m.MoveInstance(migration=LEAST_MIGRATION, instance=LEAST_INSTANCE),
    m.GuideMove(migration=OTHER, wish="abort"),
    m.DeleteInstance(instance=LEAST_INSTANCE),
    m.ActOnInstance(instance=LEAST_INSTANCE, order=orders.Stop()),
    *PLAIN_ORDERS,
    *ORDERS,
    m.FindConsole(instance_uuid=UUID, kind="novnc"),
    ConsoleAddress(host="192.0.2.9", port=5900),
    m.Measure(instance_uuid=UUID),
    Diagnostics(state="running", driver="libvirt", hypervisor="qemu"),
    m.TakeExternalEvents(events=(ExternalEvent(server_uuid=UUID, name="network-changed"),)),
    m.GetConsoleOutput(instance_uuid=UUID),
    m.ConsoleOutput(text=""),
    m.ReportInstances(host=HOST, reports=(LEAST_REPORT,)),
    m.ReportsTaken(),
    m.ReportHost(host=HOST),
    m.Taken(),
    m.ListInstances(host=HOST),
    m.HostInstances(instances=(LEAST_INSTANCE,)),
)
"""The same with nothing that has a default."""
