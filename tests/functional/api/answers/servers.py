"""What the routes of servers answer."""

from tests.functional.api.answers.shapes import (
    BOOKMARK,
    BOOLEAN,
    COUNT,
    ITEMS,
    LINKS,
    MOMENT,
    NAME,
    NEXT,
    NULL,
    SECOND,
    TEXT,
    UUID,
    WHOLE,
    Field,
    Node,
    Shape,
    Successive,
    array,
    optional,
    or_null,
)
from tests.functional.api.answers.told import Told

_STATUS = {
    "enum": [
        "ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED",
        "REBOOT", "REBUILD", "RESCUE", "RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED",
        "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "UNKNOWN", "VERIFY_RESIZE",
    ]
}  # fmt: skip
_POWER = {"enum": [0, 1, 3, 4, 6, 7]}


def _addresses(since: tuple[int, int]) -> Node:
    """Return those of a server, which say from a microversion what kind they are."""
    address = Shape(
        Field("addr", TEXT),
        Field("version", {"enum": [4, 6]}),
        Field("OS-EXT-IPS:type", {"enum": ["fixed", "floating"]}, since),
        Field("OS-EXT-IPS-MAC:mac_addr", TEXT, since),
    )
    return {"type": "object", "additionalProperties": array(address)}


ADDRESSES = _addresses((3, 0))
"""Of themselves, they never do."""
_FLAVOR = Shape(
    Field("id", NAME, until=(2, 46)),
    Field("links", BOOKMARK, until=(2, 46)),
    Field("vcpus", COUNT, since=(2, 47)),
    Field("ram", COUNT, since=(2, 47)),
    Field("disk", COUNT, since=(2, 47)),
    Field("ephemeral", COUNT, since=(2, 47)),
    Field("swap", COUNT, since=(2, 47)),
    Field("original_name", NAME, since=(2, 47)),
    optional("extra_specs", ITEMS, since=(2, 47)),
)
_IMAGE_LINK = Shape(Field("id", UUID), Field("links", BOOKMARK))
_PROPERTIES = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
_IMAGE = {
    "anyOf": [{"const": ""}, _IMAGE_LINK.but(Field("properties", _PROPERTIES, since=(2, 98)))]
}
_FAULT = Shape(
    Field("code", WHOLE),
    Field("created", SECOND),
    Field("message", TEXT),
    optional("details", TEXT),
)
_HINTS = {
    "type": "object",
    "additionalProperties": {"anyOf": [TEXT, array(TEXT)]},
}

_CHANGED_BEFORE_2_75 = (
    Field("id", UUID),
    Field("name", NAME),
    Field("status", _STATUS),
    Field("tenant_id", NAME),
    Field("user_id", NAME),
    Field("metadata", ITEMS),
    Field("hostId", {"type": "string", "pattern": r"^([0-9a-f]{56})?\Z"}),
    Field("image", _IMAGE),
    Field("flavor", _FLAVOR),
    Field("created", SECOND),
    Field("updated", SECOND),
    Field("accessIPv4", TEXT),
    Field("accessIPv6", TEXT),
    Field("links", LINKS),
    Field("OS-DCF:diskConfig", {"enum": ["AUTO", "MANUAL"]}),
    optional("progress", {"type": "integer", "minimum": 0, "maximum": 100}),
    optional("fault", _FAULT),
    Field("locked", BOOLEAN, since=(2, 9)),
    Field("description", or_null(TEXT), since=(2, 19)),
    Field("tags", array(NAME), since=(2, 26)),
    Field("trusted_image_certificates", or_null(array(NAME)), since=(2, 63)),
    Field("locked_reason", or_null(TEXT), since=(2, 73)),
)
_SHARE = Shape(
    Field("share_id", UUID),
    Field("status", {"enum": ["attaching", "inactive", "active", "detaching", "error"]}),
    Field("tag", {"type": "string", "pattern": r"^[a-zA-Z0-9-]{1,36}\Z"}),
)
_ONE_SHARE = _SHARE.but(optional("uuid", UUID), optional("export_location", NAME))
_GROUPS = {"type": "array", "items": UUID, "maxItems": 1}


def _rest(since: tuple[int, int]) -> tuple[Field, ...]:
    """Return the fields that the answer to a change shows only from 2.75."""

    def later(version: tuple[int, int]) -> tuple[int, int]:
        return max(version, since)

    prefix = "OS-EXT-SRV-ATTR:"
    admin = (
        optional(f"{prefix}host", or_null(NAME), since),
        optional(f"{prefix}instance_name", NAME, since),
        optional(f"{prefix}hypervisor_hostname", or_null(NAME), since),
        optional(f"{prefix}hostname", TEXT, later((2, 3)), (2, 89)),
        Field(f"{prefix}hostname", TEXT, later((2, 90))),
        optional(f"{prefix}kernel_id", TEXT, later((2, 3))),
        optional(f"{prefix}launch_index", COUNT, later((2, 3))),
        optional(f"{prefix}ramdisk_id", TEXT, later((2, 3))),
        optional(f"{prefix}reservation_id", TEXT, later((2, 3))),
        optional(f"{prefix}root_device_name", or_null(TEXT), later((2, 3))),
        optional(f"{prefix}user_data", or_null(TEXT), later((2, 3))),
        optional("host_status", {"enum": ["UP", "DOWN", "MAINTENANCE", "UNKNOWN", ""]}, later((2, 16))),
    )  # fmt: skip
    volume = Shape(Field("id", UUID), Field("delete_on_termination", BOOLEAN, since=(2, 3)))
    return (
        *admin,
        Field("OS-EXT-AZ:availability_zone", TEXT, since),
        Field("config_drive", {"enum": ["", "True"]}, since),
        Field("key_name", or_null(NAME), since),
        Field("OS-SRV-USG:launched_at", or_null(MOMENT), since),
        Field("OS-SRV-USG:terminated_at", or_null(MOMENT), since),
        Field("OS-EXT-STS:task_state", or_null(NAME), since),
        Field("OS-EXT-STS:vm_state", NAME, since),
        Field("OS-EXT-STS:power_state", _POWER, since),
        Field("os-extended-volumes:volumes_attached", array(volume), since),
        optional("security_groups", array(Shape(Field("name", NAME))), since),
        Field("pinned_availability_zone", or_null(NAME), since=(2, 96)),
        Field("scheduler_hints", _HINTS, since=(2, 100)),
    )


_LISTED = Shape(*_CHANGED_BEFORE_2_75, *_rest((2, 1)), Field("addresses", _addresses((2, 1))))
_SHOWN = _LISTED.but(Field("server_groups", _GROUPS, since=(2, 71)))
_CHANGED = Shape(
    *_CHANGED_BEFORE_2_75,
    *_rest((2, 75)),
    Field("addresses", _addresses((2, 75))),
    Field("server_groups", _GROUPS, since=(2, 71)),
)
_BRIEF = Shape(Field("id", UUID), Field("name", NAME), Field("links", LINKS))
_SILENT_BRIEF = Shape(
    Field("id", UUID, since=(2, 69)), Field("status", {"const": "UNKNOWN"}), Field("links", LINKS)
)
_SILENT_LISTED = _SILENT_BRIEF.but(Field("tenant_id", NAME), Field("created", SECOND))
_SILENT_SHOWN = _SILENT_LISTED.but(
    Field("user_id", NAME),
    Field("flavor", _FLAVOR),
    Field("image", {"anyOf": [{"const": ""}, _IMAGE_LINK]}),
    Field("OS-EXT-AZ:availability_zone", NAME),
    Field("OS-EXT-STS:power_state", _POWER),
    Field("server_groups", _GROUPS, since=(2, 71)),
)


def _list(one: Node) -> Shape:
    return Shape(Field("servers", array(one)), optional("servers_links", NEXT))


_CREATED = Shape(
    Field("id", UUID),
    Field("links", LINKS),
    Field("OS-DCF:diskConfig", {"enum": ["AUTO", "MANUAL"]}),
    Field("security_groups", array(Shape(Field("name", NAME)))),
    optional("adminPass", TEXT),
)
_RESERVED = Shape(Field("reservation_id", NAME))

_ACTION = Shape(
    Field("action", NAME),
    Field("instance_uuid", UUID),
    Field("request_id", NAME),
    Field("user_id", or_null(NAME)),
    Field("project_id", or_null(NAME)),
    Field("start_time", MOMENT),
    Field("message", or_null(TEXT)),
    Field("updated_at", or_null(MOMENT), since=(2, 58)),
)
_EVENT = Shape(
    Field("event", NAME),
    Field("start_time", MOMENT),
    Field("finish_time", or_null(MOMENT)),
    Field("result", or_null({"enum": ["Success", "Error"]})),
    optional("traceback", or_null(TEXT)),
    Field("hostId", TEXT, since=(2, 62)),
    optional("host", TEXT, since=(2, 62)),
    optional("details", or_null(TEXT), since=(2, 84)),
)
_EVENTS = array(_EVENT)

_SERVER = "/servers/{server_id}"
_ACTIONS = _SERVER + "/os-instance-actions"
_TAGS = Shape(Field("tags", {"type": "array", "items": NAME, "maxItems": 50}))
_METADATA = Shape(Field("metadata", ITEMS))
_META = Shape(
    Field("meta", {**ITEMS, "minProperties": 1, "maxProperties": 1}),
)

_REBUILT = _CHANGED.but(
    optional("adminPass", TEXT),
    Field("key_name", or_null(NAME), since=(2, 54)),
    Field("user_data", or_null(TEXT), since=(2, 57)),
    without=("key_name", "OS-EXT-SRV-ATTR:user_data"),
)
_IMAGE_ID = Successive({(2, 1): None, (2, 45): Shape(Field("image_id", UUID))})
_CONSOLE = Shape(
    Field("type", {"enum": ["novnc", "xvpvnc", "spice-html5", "spice-direct", "serial", "webmks"]}),
    Field("url", {"type": "string", "pattern": "^(http|ws)://[^/]+/"}),
)
_OLD_CONSOLE = Told(200, Shape(Field("console", _CONSOLE)))
_PROTOCOL = {"enum": ["vnc", "spice", "serial", "mks"]}
_FIGURE = or_null(COUNT)
_WHOLE_DIAGNOSTICS = Shape(
    Field("state", {"enum": ["pending", "running", "paused", "shutdown", "crashed", "suspended"]}),
    Field("driver", {"enum": ["libvirt", "xenapi", "vmwareapi", "ironic", "hyperv"]}),
    Field("hypervisor", or_null(TEXT)),
    Field("hypervisor_os", or_null(TEXT)),
    Field("uptime", _FIGURE),
    Field("config_drive", BOOLEAN),
    Field("num_cpus", COUNT),
    Field("num_nics", COUNT),
    Field("num_disks", COUNT),
    Field("memory_details", Shape(Field("maximum", _FIGURE), Field("used", _FIGURE))),
    Field(
        "cpu_details",
        array(Shape(Field("id", COUNT), Field("time", _FIGURE), Field("utilisation", _FIGURE))),
    ),
    Field(
        "nic_details",
        array(
            Shape(
                Field("mac_address", or_null(TEXT)),
                *(
                    Field(f"{way}_{what}", _FIGURE)
                    for way in ("rx", "tx")
                    for what in ("octets", "packets", "errors", "drop", "rate")
                ),
            )
        ),
    ),
    Field(
        "disk_details",
        array(
            Shape(
                *(
                    Field(name, _FIGURE)
                    for name in (
                        "read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count",
                    )
                )
            )
        ),
    ),
)  # fmt: skip
# Before, each hypervisor had names of its own.
_OLD_DIAGNOSTICS = {"type": "object", "additionalProperties": {"type": "integer"}}
_DIAGNOSTICS = Successive({(2, 1): _OLD_DIAGNOSTICS, (2, 48): _WHOLE_DIAGNOSTICS})
_TAKEN_EVENT = Shape(
    Field("name", NAME),
    Field("server_uuid", UUID),
    Field("status", {"enum": ["completed", "failed"]}),
    Field("code", {"enum": [200, 400, 404, 422, 503]}),
    optional("tag", TEXT),
)

ANSWERS = {
    "GET /servers": Told(200, _list({"anyOf": [_BRIEF, _SILENT_BRIEF]})),
    "GET /servers/detail": Told(200, _list({"anyOf": [_LISTED, _SILENT_LISTED]})),
    "POST /servers": Told(202, {"anyOf": [Shape(Field("server", _CREATED)), _RESERVED]}),
    f"GET {_SERVER}": Told(200, Shape(Field("server", {"anyOf": [_SHOWN, _SILENT_SHOWN]}))),
    f"PUT {_SERVER}": Told(200, Shape(Field("server", _CHANGED))),
    f"DELETE {_SERVER}": Told(204),
    f"GET {_SERVER}/ips": Told(200, Shape(Field("addresses", ADDRESSES))),
    f"GET {_SERVER}/ips/{{network}}": Told(200, ADDRESSES | {"maxProperties": 1}),
    f"GET {_SERVER}/tags": Told(200, _TAGS),
    f"PUT {_SERVER}/tags": Told(200, _TAGS),
    f"DELETE {_SERVER}/tags": Told(204),
    f"GET {_SERVER}/tags/{{tag}}": Told(204),
    f"PUT {_SERVER}/tags/{{tag}}": Told(201, or_else=204),
    f"DELETE {_SERVER}/tags/{{tag}}": Told(204),
    f"GET {_SERVER}/topology": Told(
        200, Shape(Field("nodes", {"type": "array", "maxItems": 0}), Field("pagesize_kb", NULL))
    ),
    f"GET {_SERVER}/metadata": Told(200, _METADATA),
    f"POST {_SERVER}/metadata": Told(200, _METADATA),
    f"PUT {_SERVER}/metadata": Told(200, _METADATA),
    f"GET {_SERVER}/metadata/{{key}}": Told(200, _META),
    f"PUT {_SERVER}/metadata/{{key}}": Told(200, _META),
    f"DELETE {_SERVER}/metadata/{{key}}": Told(204),
    f"GET {_ACTIONS}": Told(
        200,
        Shape(
            Field("instanceActions", array(_ACTION)),
            optional("links", NEXT, since=(2, 58)),
        ),
    ),
    f"GET {_ACTIONS}/{{request_id}}": Told(
        200,
        Shape(
            Field(
                "instanceAction",
                _ACTION.but(
                    optional("events", _EVENTS, until=(2, 50)),
                    Field("events", _EVENTS, since=(2, 51)),
                ),
            )
        ),
    ),
    f"POST {_SERVER}/action os-start": Told(202),
    f"POST {_SERVER}/action os-stop": Told(202),
    f"POST {_SERVER}/action reboot": Told(202),
    f"POST {_SERVER}/action pause": Told(202),
    f"POST {_SERVER}/action unpause": Told(202),
    f"POST {_SERVER}/action suspend": Told(202),
    f"POST {_SERVER}/action resume": Told(202),
    f"POST {_SERVER}/action rescue": Told(200, Shape(optional("adminPass", TEXT))),
    f"POST {_SERVER}/action unrescue": Told(202),
    f"POST {_SERVER}/action rebuild": Told(202, Shape(Field("server", _REBUILT))),
    f"POST {_SERVER}/action createImage": Told(202, _IMAGE_ID),
    f"POST {_SERVER}/action createBackup": Told(202, _IMAGE_ID, or_nothing=True),
    f"POST {_SERVER}/action changePassword": Told(202),
    f"POST {_SERVER}/action trigger_crash_dump": Told(202),
    f"POST {_SERVER}/action os-resetState": Told(202),
    f"POST {_SERVER}/action forceDelete": Told(202),
    f"POST {_SERVER}/action restore": Told(202),
    f"POST {_SERVER}/action addSecurityGroup": Told(202),
    f"POST {_SERVER}/action removeSecurityGroup": Told(202),
    f"POST {_SERVER}/action injectNetworkInfo": Told(202),
    f"POST {_SERVER}/action resetNetwork": Told(202),
    f"POST {_SERVER}/action os-getVNCConsole": _OLD_CONSOLE,
    f"POST {_SERVER}/action os-getSPICEConsole": _OLD_CONSOLE,
    f"POST {_SERVER}/action os-getSerialConsole": _OLD_CONSOLE,
    f"POST {_SERVER}/action os-getRDPConsole": _OLD_CONSOLE,
    f"GET {_SERVER}/shares": Told(200, Shape(Field("shares", array(_SHARE)))),
    f"POST {_SERVER}/shares": Told(201, Shape(Field("share", _ONE_SHARE))),
    f"GET {_SERVER}/shares/{{share_id}}": Told(200, Shape(Field("share", _ONE_SHARE))),
    f"DELETE {_SERVER}/shares/{{share_id}}": Told(200),
    f"POST {_SERVER}/remote-consoles": Told(
        200, Shape(Field("remote_console", _CONSOLE.but(Field("protocol", _PROTOCOL))))
    ),
    "GET /os-console-auth-tokens/{token}": Told(
        200,
        Shape(
            Field(
                "console",
                Shape(
                    Field("instance_uuid", UUID),
                    Field("host", TEXT),
                    Field("port", COUNT),
                    Field("internal_access_path", or_null(TEXT)),
                    Field("tls_port", or_null(COUNT), since=(2, 99)),
                ),
            )
        ),
    ),
    f"GET {_SERVER}/os-server-password": Told(200, Shape(Field("password", TEXT))),
    f"DELETE {_SERVER}/os-server-password": Told(204),
    f"GET {_SERVER}/diagnostics": Told(200, _DIAGNOSTICS),
    "POST /os-server-external-events": Told(
        200, Shape(Field("events", array(_TAKEN_EVENT))), or_else=207
    ),
    f"POST {_SERVER}/action lock": Told(202),
    f"POST {_SERVER}/action unlock": Told(202),
    f"POST {_SERVER}/action os-getConsoleOutput": Told(200, Shape(Field("output", TEXT))),
}
"""Method and path (and action) -> what a request that succeeds is told."""
