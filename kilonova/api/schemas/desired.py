"""What a request about desired servers may say."""

from kilonova.api.microversions import ALWAYS
from kilonova.api.parameters import NAME, closed
from kilonova.api.routing import Schemas
from kilonova.api.schemas.servers import HINTS, MANY, Schema
from kilonova.core.desired import MOST
from kilonova.core.server_group import Policy

_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MOST}
_LONGEST_NAME = 255 - len(f"-{MOST}")
"""The servers are called after it, with their indexes behind it."""

_CREATED = {
    "name": NAME | {"maxLength": _LONGEST_NAME},
    "count": _COUNT,
    "group_policy": {"enum": [policy.value for policy in sorted(Policy)]},
}
_HINTED = {"os:scheduler_hints": HINTS}

CREATE = Schemas(
    {
        ALWAYS: closed(
            {
                "desired": closed(_CREATED, "name", "count"),
                "server": closed(MANY, "flavorRef", "imageRef", "networks"),
            }
            | _HINTED,
            "desired",
            "server",
        )
    }
)
CHANGE = Schemas(
    {
        ALWAYS: closed(
            {"desired": closed({"count": _COUNT}, "count"), "server": closed(MANY)} | _HINTED,
            minProperties=1,
        )
    }
)
