"""What requests about servers' networks may say, by microversion.

Source of the keys: Compute API reference, "Port interfaces" and "Servers - run an action".
"""

from typing import Any

from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import closed
from kilonova.api.routing import Schemas
from kilonova.api.schemas.servers import IPV4, IPV6, TAG, UUID

Schema = dict[str, Any]

_ADDRESS: Schema = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_FIXED: Schema = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": closed({"ip_address": _ADDRESS}, "ip_address"),
}
_ATTACHED: Schema = {"net_id": UUID, "port_id": UUID, "fixed_ips": _FIXED}


def _attach(keys: Schema) -> Schema:
    return closed({"interfaceAttachment": closed(keys)}) | {"type": ["object", "null"]}


ATTACH = Schemas(
    {ALWAYS: _attach(_ATTACHED), Since.TAGS_AT_ATTACHING: _attach(_ATTACHED | {"tag": TAG})}
)

_NETWORK: Schema = {"type": ["string", "integer"], "minLength": 1, "maxLength": 255}
ADD_FIXED_IP = Schemas(
    {ALWAYS: closed({"addFixedIp": closed({"networkId": _NETWORK}, "networkId")}, "addFixedIp")}
)
REMOVE_FIXED_IP = Schemas(
    {ALWAYS: closed({"removeFixedIp": closed({"address": _ADDRESS}, "address")}, "removeFixedIp")}
)
_FLOATING: Schema = {"address": _ADDRESS, "fixed_address": {"anyOf": [IPV4, IPV6]}}
ADD_FLOATING_IP = Schemas(
    {ALWAYS: closed({"addFloatingIp": closed(_FLOATING, "address")}, "addFloatingIp")}
)
REMOVE_FLOATING_IP = Schemas(
    {
        ALWAYS: closed(
            {"removeFloatingIp": closed({"address": _ADDRESS}, "address")}, "removeFloatingIp"
        )
    }
)
