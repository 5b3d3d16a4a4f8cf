"""What a request to move a server may say, by microversion.

Source: Compute API reference, "Servers - run an action" and "run an administrative action".
"""

from typing import Any

from kilonova.api.parameters import BOOLEAN, HOST, NAME, SHORT, closed
from kilonova.api.routing import Schemas

Schema = dict[str, Any]

_ANYTHING: Schema = {}
_NO_HOST: Schema = HOST | {"type": ["string", "null"]}

RESIZE = Schemas(
    {
        (2, 1): closed(
            {
                "resize": closed(
                    {
                        "flavorRef": {"type": ["string", "integer"], "minLength": 1, "minimum": 0},
                        "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
                    },
                    "flavorRef",
                )
            },
            "resize",
        )
    }
)
MIGRATE = Schemas(
    {
        (2, 1): {"type": "object"},
        (2, 56): closed(
            {"migrate": closed({"host": _NO_HOST}) | {"type": ["object", "null"]}}, "migrate"
        ),
    }
)


def _live(properties: Schema) -> Schema:
    return closed({"os-migrateLive": closed(properties, *_LIVE)}, "os-migrateLive")


_LIVE = ("block_migration", "host")
_AUTO: Schema = {"enum": [*BOOLEAN["enum"], "auto"]}
_LIVE_2_25: Schema = {"block_migration": _AUTO, "host": _NO_HOST}
LIVE_MIGRATE = Schemas(
    {
        (2, 1): closed(
            {
                "os-migrateLive": closed(
                    {"block_migration": BOOLEAN, "disk_over_commit": BOOLEAN, "host": _NO_HOST},
                    *_LIVE,
                    "disk_over_commit",
                )
            },
            "os-migrateLive",
        ),
        (2, 25): _live(_LIVE_2_25),
        (2, 30): _live(_LIVE_2_25 | {"force": BOOLEAN}),
        (2, 68): _live(_LIVE_2_25),
    }
)

_EVACUATE: Schema = {"host": HOST, "adminPass": {"type": "string"}}


def _evacuate(properties: Schema, *required: str) -> Schema:
    return closed({"evacuate": closed(properties, *required)}, "evacuate")


EVACUATE = Schemas(
    {
        (2, 1): _evacuate(_EVACUATE | {"onSharedStorage": BOOLEAN}, "onSharedStorage"),
        (2, 14): _evacuate(_EVACUATE),
        (2, 29): _evacuate(_EVACUATE | {"force": BOOLEAN}),
        (2, 68): _evacuate(_EVACUATE),
    }
)

_ZONE: Schema = {"availability_zone": NAME}
UNSHELVE = Schemas(
    {
        (2, 1): {"type": "object"},
        (2, 77): closed(
            {"unshelve": closed(_ZONE, "availability_zone") | {"type": ["object", "null"]}},
            "unshelve",
        ),
        (2, 91): closed(
            {
                "unshelve": closed(
                    {"availability_zone": NAME | {"type": ["string", "null"]}, "host": SHORT},
                    minProperties=1,
                )
                | {"type": ["object", "null"]}
            },
            "unshelve",
        ),
    }
)
FORCE_COMPLETE = Schemas({(2, 22): closed({"force_complete": {"type": "null"}}, "force_complete")})
