"""What the routes of hypervisors, services, aggregates and zones answer."""

from tests.functional.api.answers.shapes import (
    BOOLEAN,
    COUNT,
    FALSE,
    ITEMS,
    MOMENT,
    NAME,
    NEXT,
    NULL,
    TEXT,
    UUID,
    WHOLE,
    Field,
    Shape,
    array,
    optional,
    or_null,
)
from tests.functional.api.answers.told import Told

_STATE = {"enum": ["up", "down"]}
_ENABLED = {"enum": ["enabled", "disabled"]}
_OLD_ID = Field("id", COUNT, until=(2, 52))
_NEW_ID = Field("id", UUID, since=(2, 53))

_SERVICE = Shape(
    _OLD_ID,
    _NEW_ID,
    Field("binary", NAME),
    Field("host", NAME),
    Field("zone", NAME),
    Field("status", _ENABLED),
    Field("state", _STATE),
    Field("updated_at", or_null(MOMENT)),
    Field("disabled_reason", or_null(TEXT)),
    Field("forced_down", BOOLEAN, since=(2, 11)),
)
_SILENT_SERVICE = Shape(
    Field("binary", NAME, since=(2, 69)),
    Field("host", NAME),
    Field("status", {"const": "UNKNOWN"}),
)
_TOLD_TO = (Field("host", NAME), Field("binary", NAME))
_ACTED = {
    "anyOf": [
        Shape(*_TOLD_TO, Field("status", _ENABLED), optional("disabled_reason", TEXT)),
        Shape(*_TOLD_TO, Field("forced_down", BOOLEAN)),
    ]
}

_SERVERS = array(Shape(Field("uuid", UUID), Field("name", NAME)))
_HYPERVISOR = Shape(
    _OLD_ID,
    _NEW_ID,
    Field("hypervisor_hostname", NAME),
    Field("state", _STATE),
    Field("status", _ENABLED),
)
_WITH_SERVERS = _HYPERVISOR.but(optional("servers", _SERVERS, since=(2, 53)))
_FIGURES = (
    "vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used",
    "free_disk_gb", "disk_available_least", "current_workload", "running_vms",
)  # fmt: skip
_DETAILED = _WITH_SERVERS.but(
    *(Field(name, WHOLE, until=(2, 87)) for name in _FIGURES),
    Field("cpu_info", TEXT, until=(2, 27)),
    Field("cpu_info", {"type": "object"}, since=(2, 28), until=(2, 87)),
    Field("uptime", or_null(TEXT), since=(2, 88)),
    Field("hypervisor_type", NAME),
    Field("hypervisor_version", WHOLE),
    Field("host_ip", or_null(TEXT)),
    Field(
        "service",
        Shape(_OLD_ID, _NEW_ID, Field("host", NAME), Field("disabled_reason", or_null(TEXT))),
    ),
)


def _hypervisors(one: Shape) -> Shape:
    return Shape(
        Field("hypervisors", array(one)), optional("hypervisors_links", NEXT, since=(2, 33))
    )


_BORN = Shape(
    Field("id", COUNT),
    Field("uuid", UUID, since=(2, 41)),
    Field("name", NAME),
    Field("availability_zone", or_null(NAME)),
    Field("created_at", MOMENT),
    Field("updated_at", or_null(MOMENT)),
    Field("deleted", FALSE),
    Field("deleted_at", NULL),
)
_WHOLE = _BORN.but(Field("hosts", array(NAME)), Field("metadata", ITEMS))
_AGGREGATE = Shape(Field("aggregate", _WHOLE))

_ALIVE = Shape(
    Field("active", BOOLEAN), Field("available", BOOLEAN), Field("updated_at", or_null(MOMENT))
)
_BY_NAME = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": _ALIVE},
}
_ZONE = Shape(Field("zoneName", NAME), Field("zoneState", Shape(Field("available", BOOLEAN))))


def _zones(hosts: dict[str, object]) -> Shape:
    return Shape(Field("availabilityZoneInfo", array(_ZONE.but(Field("hosts", hosts)))))


_HELD = Shape(
    Field("host", NAME),
    Field("project", NAME),
    *(Field(name, COUNT) for name in ("cpu", "memory_mb", "disk_gb")),
)
_S = "/os-services"
_H = "/os-hypervisors"
_ONE = _H + "/{hypervisor_id}"
_A = "/os-aggregates"
_ACT = _A + "/{aggregate_id}/action"

ANSWERS = {
    f"GET {_S}": Told(200, Shape(Field("services", array({"anyOf": [_SERVICE, _SILENT_SERVICE]})))),
    f"PUT {_S}/{{service_id}}": Told(
        200,
        Shape(
            Field("service", _ACTED, until=(2, 52)),
            Field("service", _SERVICE, since=(2, 53)),
        ),
    ),
    f"DELETE {_S}/{{service_id}}": Told(204),
    f"GET {_H}": Told(200, _hypervisors(_WITH_SERVERS)),
    f"GET {_H}/detail": Told(200, _hypervisors(_DETAILED)),
    f"GET {_ONE}": Told(200, Shape(Field("hypervisor", _DETAILED))),
    f"GET {_ONE}/uptime": Told(
        200, Shape(Field("hypervisor", _HYPERVISOR.but(Field("uptime", TEXT))))
    ),
    f"GET {_ONE}/search": Told(200, Shape(Field("hypervisors", array(_HYPERVISOR)))),
    f"GET {_ONE}/servers": Told(
        200,
        Shape(Field("hypervisors", array(_HYPERVISOR.but(optional("servers", _SERVERS))))),
    ),
    f"GET {_H}/statistics": Told(
        200,
        Shape(
            Field(
                "hypervisor_statistics",
                Shape(Field("count", COUNT), *(Field(name, WHOLE) for name in _FIGURES)),
            )
        ),
    ),
    "GET /os-hosts": Told(
        200,
        Shape(
            Field(
                "hosts",
                array(Shape(Field("host_name", NAME), Field("service", NAME), Field("zone", NAME))),
            )
        ),
    ),
    "GET /os-hosts/{host}": Told(200, Shape(Field("host", array(Shape(Field("resource", _HELD)))))),
    "PUT /os-hosts/{host}": Told(200, Shape(Field("host", NAME), Field("status", _ENABLED))),
    "GET /os-hosts/{host}/startup": Told(200),
    "GET /os-hosts/{host}/shutdown": Told(200),
    "GET /os-hosts/{host}/reboot": Told(200),
    f"GET {_A}": Told(200, Shape(Field("aggregates", array(_WHOLE)))),
    f"POST {_A}": Told(200, Shape(Field("aggregate", _BORN))),
    f"GET {_A}/{{aggregate_id}}": Told(200, _AGGREGATE),
    f"PUT {_A}/{{aggregate_id}}": Told(200, _AGGREGATE),
    f"DELETE {_A}/{{aggregate_id}}": Told(200),
    f"POST {_A}/{{aggregate_id}}/images": Told(202),
    f"POST {_ACT} add_host": Told(200, _AGGREGATE),
    f"POST {_ACT} remove_host": Told(200, _AGGREGATE),
    f"POST {_ACT} set_metadata": Told(200, _AGGREGATE),
    "GET /os-availability-zone": Told(200, _zones(NULL)),
    "GET /os-availability-zone/detail": Told(200, _zones(or_null(_BY_NAME))),
}
"""Method and path (and action) -> what a request that succeeds is told."""
