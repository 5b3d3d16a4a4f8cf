"""One value of every message, with no field left at its default, and the least that each can be."""

from kilonova.core import orders
from kilonova.core.context import RequestContext
from kilonova.core.image import Image
from kilonova.core.operator_task import TaskQueue
from kilonova.core.scheduling import (
    Decision,
)
from kilonova.rpc import messages as m
from tests.unit.rpc import guest_samples as guests
from tests.unit.rpc.values import (
    CELL,
    DESTINATION,
    HOST,
    IMAGE,
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
    m.SelectDestinations(
        spec=SPEC, instance_uuids=(UUID, OTHER), alternates=5, dry_run=True, epochs=(1, 2)
    ),
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
    m.BuildInstances(
        builds=(
            m.BuildInstance(instance=INSTANCE, destination=DESTINATION, alternates=(DESTINATION,)),
        ),
        request_ids=(REQUEST,),
    ),
    m.StartMove(cell_uuid=CELL, migration=OTHER),
    m.MoveInstance(migration=MIGRATION, instance=INSTANCE),
    m.GuideMove(migration=OTHER, wish="abort"),
    m.DeleteInstance(instance=INSTANCE),
    m.ActOnInstance(instance=INSTANCE, order=orders.Stop()),
    *guests.PLAIN_ORDERS,
    *ORDERS,
    orders.Rebuild(onto_volume=IMAGE.image_id),
    m.FindConsole(instance_uuid=UUID, kind="novnc"),
    m.Measure(instance_uuid=UUID),
    m.FindDevices(instance_uuid=UUID),
    m.DevicesFound(devices=(guests.PLACED,)),
    m.RunTask(task_id=UUID, queue=TaskQueue.URGENT),
    m.SampleServers(),
    m.ServersSampled(servers=(guests.VITALS,)),
    m.TakeExternalEvents(events=(guests.EVENT,)),
    m.CacheImages(images=(IMAGE,)),
    *guests.FULL,
    m.GetConsoleOutput(instance_uuid=UUID, length=25),
    m.ConsoleOutput(text="login:\n"),
    m.ReportInstances(host=HOST, reports=(REPORT,)),
    m.ReportsTaken(refused=(0, 2), unfit={2: "too many"}),
    m.ReportHost(host=HOST, nodes=(NODE_REPORT,), vitals=guests.HOST_VITALS),
    m.Taken(),
    m.ListInstances(host=HOST, guests=(UUID,), starting=True, start=2),
    m.HostInstances(
        instances=(INSTANCE,), disowned=(UUID,), moving=(OTHER,), start=3, kept=(UUID,)
    ),
    m.Ping(),
)
"""Every struct that travels by itself, in the order of kilonova/rpc/messages.py."""

LEAST = (
    RequestContext(request_id=REQUEST),
    m.BuildServers(instance_uuids=(UUID,)),
    m.SelectDestinations(spec=LEAST_SPEC, instance_uuids=(UUID,)),
    m.Destinations(decisions=(Decision(instance_uuid=UUID),)),
    m.BuildInstance(instance=LEAST_INSTANCE, destination=DESTINATION),
    m.BuildInstances(
        builds=(m.BuildInstance(instance=LEAST_INSTANCE, destination=DESTINATION),),
        request_ids=(REQUEST,),
    ),
    m.StartMove(cell_uuid=CELL, migration=OTHER),
    m.MoveInstance(migration=LEAST_MIGRATION, instance=LEAST_INSTANCE),
    m.GuideMove(migration=OTHER, wish="abort"),
    m.DeleteInstance(instance=LEAST_INSTANCE),
    m.ActOnInstance(instance=LEAST_INSTANCE, order=orders.Stop()),
    *guests.PLAIN_ORDERS,
    *(one for one in ORDERS if not isinstance(one, orders.AttachInterface)),
    orders.AttachInterface(port_id="port"),
    orders.Rebuild(),
    m.FindConsole(instance_uuid=UUID, kind="novnc"),
    m.Measure(instance_uuid=UUID),
    m.FindDevices(instance_uuid=UUID),
    m.DevicesFound(devices=(guests.LEAST_PLACED,)),
    m.RunTask(task_id=UUID, queue=TaskQueue.NORMAL),
    m.SampleServers(),
    m.ServersSampled(servers=(guests.LEAST_VITALS,)),
    m.TakeExternalEvents(events=(guests.LEAST_EVENT,)),
    m.CacheImages(images=(Image(image_id=IMAGE.image_id),)),
    *guests.LEAST,
    m.GetConsoleOutput(instance_uuid=UUID),
    m.ConsoleOutput(text=""),
    m.ReportInstances(host=HOST, reports=(LEAST_REPORT,)),
    m.ReportsTaken(),
    m.ReportHost(host=HOST),
    m.Taken(),
    m.ListInstances(host=HOST),
    m.HostInstances(instances=(LEAST_INSTANCE,)),
    m.Ping(),
)
"""The same with nothing that has a default."""
