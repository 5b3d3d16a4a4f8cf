"""What a request to move a server may say, by microversion.

Source: Compute API reference, "Servers - run an action" and "run an administrative action".
"""

from typing import Any

from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.parameters import BOOLEAN, HOST, NAME, SHORT, closed
from kilonova.api.routing import Schemas

Schema = dict[str, Any]

_ANYTHING: Schema = {}
_NO_HOST: Schema = HOST | {"type": ["string", "null"]}

RESIZE = Schemas(
    {
        ALWAYS: closed(
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
        ALWAYS: {"type": "object"},
        Since.MIGRATION_NAMES_HOST: closed(
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
        ALWAYS: closed(
            {
                "os-migrateLive": closed(
                    {"block_migration": BOOLEAN, "disk_over_commit": BOOLEAN, "host": _NO_HOST},
                    *_LIVE,
                    "disk_over_commit",
                )
            },
            "os-migrateLive",
        ),
        Since.BLOCK_MIGRATION_AUTO: _live(_LIVE_2_25),
        Since.LIVE_MIGRATION_CHECKS_HOST: _live(_LIVE_2_25 | {"force": BOOLEAN}),
        Since.HOSTS_ALWAYS_CHECKED: _live(_LIVE_2_25),
    }
)

_EVACUATE: Schema = {"host": HOST, "adminPass": {"type": "string"}}


def _evacuate(properties: Schema, *required: str) -> Schema:
    return closed({"evacuate": closed(properties, *required)}, "evacuate")


EVACUATE = Schemas(
    {
        ALWAYS: _evacuate(_EVACUATE | {"onSharedStorage": BOOLEAN}, "onSharedStorage"),
        Since.NO_SHARED_STORAGE: _evacuate(_EVACUATE),
        Since.EVACUATION_CHECKS_HOST: _evacuate(_EVACUATE | {"force": BOOLEAN}),
        Since.HOSTS_ALWAYS_CHECKED: _evacuate(_EVACUATE),
    }
)

_ZONE: Schema = {"availability_zone": NAME}
UNSHELVE = Schemas(
    {
        ALWAYS: {"type": "object"},
        Since.UNSHELVE_TO_ZONE: closed(
            {"unshelve": closed(_ZONE, "availability_zone") | {"type": ["object", "null"]}},
            "unshelve",
        ),
        Since.UNSHELVE_TO_HOST: closed(
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
FORCE_COMPLETE = Schemas(
    {Since.FORCE_COMPLETE: closed({"force_complete": {"type": "null"}}, "force_complete")}
)
