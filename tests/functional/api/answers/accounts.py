"""What the routes of flavors, key pairs, server groups, quotas, limits, usage and extensions answer."""

from tests.functional.api.answers.shapes import (
    BOOLEAN,
    COUNT,
    FALSE,
    ITEMS,
    LIMIT,
    LINKS,
    MOMENT,
    NAME,
    NEXT,
    NULL,
    NUMBER,
    SECOND,
    TEXT,
    UUID,
    Field,
    Node,
    Shape,
    array,
    optional,
    or_null,
)
from tests.functional.api.answers.told import Told

_F = "/flavors"
_ONE = _F + "/{flavor_id}"
_BRIEF_FLAVOR = Shape(
    Field("id", NAME),
    Field("name", NAME),
    Field("links", LINKS),
    Field("description", or_null(TEXT), since=(2, 55)),
)
_FLAVOR = _BRIEF_FLAVOR.but(
    Field("ram", COUNT),
    Field("disk", COUNT),
    Field("vcpus", COUNT),
    Field("swap", {"anyOf": [{"const": ""}, {"type": "integer", "minimum": 1}]}, until=(2, 74)),
    Field("swap", COUNT, since=(2, 75)),
    Field("rxtx_factor", NUMBER, until=(2, 101)),
    Field("OS-FLV-EXT-DATA:ephemeral", COUNT),
    Field("OS-FLV-DISABLED:disabled", BOOLEAN, until=(2, 101)),
    Field("os-flavor-access:is_public", BOOLEAN),
    optional("extra_specs", ITEMS, since=(2, 61)),
)
_ONE_FLAVOR = Told(200, Shape(Field("flavor", _FLAVOR)))
_ACCESS = Told(
    200,
    Shape(Field("flavor_access", array(Shape(Field("flavor_id", NAME), Field("tenant_id", NAME))))),
)
# A number is answered as it was sent.
_SPEC_VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_SPECS = Told(200, Shape(Field("extra_specs", _SPEC_VALUES)))
_SPEC = Told(200, {**_SPEC_VALUES, "minProperties": 1, "maxProperties": 1})


def _flavors(one: Shape) -> Told:
    return Told(200, Shape(Field("flavors", array(one)), optional("flavors_links", NEXT)))


_KEY = Shape(
    Field("name", NAME),
    Field("public_key", TEXT),
    Field("fingerprint", TEXT),
    Field("type", {"enum": ["ssh", "x509"]}, since=(2, 2)),
)
_MADE_KEY = _KEY.but(Field("user_id", NAME), optional("private_key", TEXT, until=(2, 91)))
_WHOLE_KEY = _KEY.but(
    Field("user_id", NAME),
    Field("id", COUNT),
    Field("created_at", MOMENT),
    Field("updated_at", NULL),
    Field("deleted", FALSE),
    Field("deleted_at", NULL),
)

_POLICY = {"enum": ["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]}
_SERVER_GROUP = Shape(
    Field("id", UUID),
    Field("name", NAME),
    Field("members", array(UUID)),
    Field("policies", {**array(_POLICY), "minItems": 1, "maxItems": 1}, until=(2, 63)),
    Field("metadata", {"type": "object", "maxProperties": 0}, until=(2, 63)),
    Field("project_id", NAME, since=(2, 13)),
    Field("user_id", NAME, since=(2, 13)),
    Field("policy", _POLICY, since=(2, 64)),
    Field("rules", {"anyOf": [Shape(Field("max_server_per_host", COUNT)), Shape()]}, since=(2, 64)),
)
_ONE_GROUP = Told(200, Shape(Field("server_group", _SERVER_GROUP)))

_ALWAYS = ("cores", "instances", "key_pairs", "metadata_items", "ram")
_GROUPS = ("server_groups", "server_group_members")
_FILES = ("injected_file_content_bytes", "injected_file_path_bytes", "injected_files")
_NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")


def _quotas(figure: Node) -> Shape:
    return Shape(
        *(Field(name, figure) for name in (*_ALWAYS, *_GROUPS)),
        *(Field(name, figure, until=(2, 35)) for name in _NETWORK),
        *(Field(name, figure, until=(2, 56)) for name in _FILES),
    )


_USE = Shape(Field("limit", LIMIT), Field("in_use", COUNT), Field("reserved", COUNT))
_CLASS = Shape(
    *(Field(name, LIMIT) for name in _ALWAYS),
    *(Field(name, LIMIT, since=(2, 50)) for name in _GROUPS),
    *(Field(name, LIMIT, until=(2, 49)) for name in _NETWORK),
    *(Field(name, LIMIT, until=(2, 56)) for name in _FILES),
)
_ID = Field("id", TEXT)

_ABSOLUTE = Shape(
    *(
        Field(name, LIMIT)
        for name in (
            "maxServerMeta", "maxTotalInstances", "maxTotalCores", "maxTotalRAMSize",
            "maxTotalKeypairs", "maxServerGroups", "maxServerGroupMembers",
        )
    ),
    *(
        Field(name, COUNT)
        for name in (
            "totalInstancesUsed", "totalCoresUsed", "totalRAMUsed", "totalServerGroupsUsed",
        )
    ),
    *(
        Field(name, LIMIT, until=(2, 35))
        for name in ("maxTotalFloatingIps", "maxSecurityGroups", "maxSecurityGroupRules")
    ),
    *(Field(name, COUNT, until=(2, 35)) for name in ("totalFloatingIpsUsed", "totalSecurityGroupsUsed")),
    Field("maxImageMeta", LIMIT, until=(2, 38)),
    *(Field(name, LIMIT, until=(2, 56)) for name in ("maxPersonality", "maxPersonalitySize")),
)  # fmt: skip

_RAN = Shape(
    Field("instance_id", UUID),
    Field("name", NAME),
    Field("tenant_id", NAME),
    Field("flavor", NAME),
    Field("vcpus", COUNT),
    Field("memory_mb", COUNT),
    Field("local_gb", COUNT),
    Field("state", NAME),
    Field("started_at", MOMENT),
    Field("ended_at", or_null(MOMENT)),
    Field("hours", NUMBER),
    Field("uptime", COUNT),
)
_SUM = Shape(
    Field("tenant_id", NAME),
    Field("start", MOMENT),
    Field("stop", MOMENT),
    *(
        Field(f"total_{name}", NUMBER)
        for name in ("hours", "vcpus_usage", "memory_mb_usage", "local_gb_usage")
    ),
)
_ITEMIZED = _SUM.but(Field("server_usages", array(_RAN)))
_EXTENSION = Shape(
    *(Field(name, NAME) for name in ("alias", "name", "description", "namespace")),
    Field("updated", SECOND),
    Field("links", {"type": "array", "maxItems": 0}),
)
_AUDIT = Shape(
    *(Field(name, TEXT) for name in ("period_beginning", "period_ending", "overall_status")),
    *(Field(f"num_hosts{what}", COUNT) for what in ("", "_done", "_running", "_not_run")),
    Field("total_instances", COUNT),
    Field("total_errors", COUNT),
    Field("hosts_not_run", array(NAME)),
    Field("log", {"type": "object"}),
)

_Q = "/os-quota-sets/{project_id}"
_C = "/os-quota-class-sets/{name}"
_U = "/os-simple-tenant-usage"

ANSWERS = {
    f"GET {_F}": _flavors(_BRIEF_FLAVOR),
    f"GET {_F}/detail": _flavors(_FLAVOR),
    f"POST {_F}": _ONE_FLAVOR,
    f"GET {_ONE}": _ONE_FLAVOR,
    f"PUT {_ONE}": _ONE_FLAVOR,
    f"DELETE {_ONE}": Told(202),
    f"GET {_ONE}/os-extra_specs": _SPECS,
    f"POST {_ONE}/os-extra_specs": _SPECS,
    f"GET {_ONE}/os-extra_specs/{{key}}": _SPEC,
    f"PUT {_ONE}/os-extra_specs/{{key}}": _SPEC,
    f"DELETE {_ONE}/os-extra_specs/{{key}}": Told(200),
    f"GET {_ONE}/os-flavor-access": _ACCESS,
    f"POST {_ONE}/action addTenantAccess": _ACCESS,
    f"POST {_ONE}/action removeTenantAccess": _ACCESS,
    "GET /os-keypairs": Told(
        200,
        Shape(
            Field("keypairs", array(Shape(Field("keypair", _KEY)))),
            optional("keypairs_links", NEXT, since=(2, 35)),
        ),
    ),
    "POST /os-keypairs": Told(200, Shape(Field("keypair", _MADE_KEY)), statuses={(2, 2): 201}),
    "GET /os-keypairs/{name}": Told(200, Shape(Field("keypair", _WHOLE_KEY))),
    "DELETE /os-keypairs/{name}": Told(202, statuses={(2, 2): 204}),
    "GET /os-server-groups": Told(200, Shape(Field("server_groups", array(_SERVER_GROUP)))),
    "POST /os-server-groups": _ONE_GROUP,
    "GET /os-server-groups/{group_id}": _ONE_GROUP,
    "DELETE /os-server-groups/{group_id}": Told(204),
    f"GET {_Q}": Told(200, Shape(Field("quota_set", _quotas(LIMIT).but(_ID)))),
    f"GET {_Q}/defaults": Told(200, Shape(Field("quota_set", _quotas(LIMIT).but(_ID)))),
    f"GET {_Q}/detail": Told(200, Shape(Field("quota_set", _quotas(_USE).but(_ID)))),
    f"PUT {_Q}": Told(200, Shape(Field("quota_set", _quotas(LIMIT)))),
    f"DELETE {_Q}": Told(202),
    f"GET {_C}": Told(200, Shape(Field("quota_class_set", _CLASS.but(_ID)))),
    f"PUT {_C}": Told(200, Shape(Field("quota_class_set", _CLASS))),
    "GET /limits": Told(
        200,
        Shape(
            Field(
                "limits",
                Shape(
                    Field("rate", {"type": "array", "maxItems": 0}), Field("absolute", _ABSOLUTE)
                ),
            )
        ),
    ),
    f"GET {_U}": Told(
        200,
        Shape(
            Field("tenant_usages", array({"anyOf": [_SUM, _ITEMIZED]})),
            optional("tenant_usages_links", NEXT, since=(2, 40)),
        ),
    ),
    f"GET {_U}/{{project_id}}": Told(
        200,
        Shape(
            Field("tenant_usage", {"anyOf": [_ITEMIZED, Shape()]}),
            optional("tenant_usage_links", NEXT, since=(2, 40)),
        ),
    ),
    "GET /os-instance_usage_audit_log": Told(
        200, Shape(Field("instance_usage_audit_logs", _AUDIT))
    ),
    "GET /os-instance_usage_audit_log/{before}": Told(
        200, Shape(Field("instance_usage_audit_log", _AUDIT))
    ),
    "GET /extensions": Told(200, Shape(Field("extensions", array(_EXTENSION)))),
    "GET /extensions/{alias}": Told(200, Shape(Field("extension", _EXTENSION))),
}
"""Method and path (and action) -> what a request that succeeds is told."""
