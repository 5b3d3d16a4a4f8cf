"""What the routes of servers' network cards and security groups answer."""

from tests.functional.api.answers.shapes import (
    NAME,
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

_INTERFACES = "/servers/{server_id}/os-interface"
_FIXED = Shape(Field("ip_address", TEXT), Field("subnet_id", UUID))
_INTERFACE = Shape(
    Field("fixed_ips", array(_FIXED)),
    Field("mac_addr", {"type": "string", "pattern": r"^([0-9a-f]{2}:){5}[0-9a-f]{2}\Z"}),
    Field("net_id", UUID),
    Field("port_id", UUID),
    Field("port_state", {"enum": ["ACTIVE", "DOWN", "BUILD", "ERROR", "N/A"]}),
    Field("tag", or_null(TEXT), since=(2, 70)),
)
_ONE = Shape(Field("interfaceAttachment", _INTERFACE))
_RULE = Shape(
    Field("id", UUID),
    Field("parent_group_id", UUID),
    Field("ip_protocol", or_null(TEXT)),
    Field("from_port", or_null(WHOLE)),
    Field("to_port", or_null(WHOLE)),
    Field("group", Shape(optional("name", TEXT), optional("tenant_id", TEXT))),
    Field("ip_range", Shape(optional("cidr", TEXT))),
)
_GROUP = Shape(
    Field("id", UUID),
    Field("name", NAME),
    Field("description", TEXT),
    Field("tenant_id", NAME),
    Field("rules", array(_RULE)),
)

ANSWERS = {
    f"GET {_INTERFACES}": Told(200, Shape(Field("interfaceAttachments", array(_INTERFACE)))),
    f"POST {_INTERFACES}": Told(200, _ONE),
    f"GET {_INTERFACES}/{{port_id}}": Told(200, _ONE),
    f"DELETE {_INTERFACES}/{{port_id}}": Told(202),
    "GET /servers/{server_id}/os-security-groups": Told(
        200, Shape(Field("security_groups", array(_GROUP)))
    ),
    **{
        f"POST /servers/{{server_id}}/action {act}": Told(202)
        for act in ("addFixedIp", "removeFixedIp", "addFloatingIp", "removeFloatingIp")
    },
}
