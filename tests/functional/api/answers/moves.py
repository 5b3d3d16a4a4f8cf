"""What servers that move, and their migrations, answer."""

from tests.functional.api.answers.shapes import (
    COUNT,
    LINKS,
    MOMENT,
    NAME,
    NEXT,
    TEXT,
    UUID,
    Field,
    Shape,
    Successive,
    array,
    optional,
    or_null,
)
from tests.functional.api.answers.told import Told

_MIGRATION = (
    Field("id", COUNT),
    Field("status", NAME),
    # Null to those who may not know of hosts.
    Field("source_compute", or_null(NAME)),
    Field("source_node", or_null(NAME)),
    Field("dest_compute", or_null(NAME)),
    Field("dest_node", or_null(NAME)),
    Field("dest_host", or_null(NAME)),
    Field("created_at", MOMENT),
    Field("updated_at", MOMENT),
    Field("uuid", UUID, since=(2, 59)),
    Field("user_id", NAME, since=(2, 80)),
    Field("project_id", NAME, since=(2, 80)),
)
_LISTED_MIGRATION = Shape(
    *_MIGRATION,
    Field("instance_uuid", UUID),
    Field("old_instance_type_id", or_null(COUNT)),
    Field("new_instance_type_id", or_null(COUNT)),
    Field(
        "migration_type",
        {"enum": ["migration", "resize", "live-migration", "evacuation"]},
        since=(2, 23),
    ),
    optional("links", LINKS, since=(2, 23)),
)
_SHOWN_MIGRATION = Shape(
    *_MIGRATION,
    Field("server_uuid", UUID),
    *(
        Field(f"{what}_{how}_bytes", COUNT)
        for what in ("memory", "disk")
        for how in ("total", "processed", "remaining")
    ),
)
_SERVER = "/servers/{server_id}"
_ONE_MIGRATION = _SERVER + "/migrations/{migration_id}"
_EVACUATED = Successive({(2, 1): Shape(Field("adminPass", TEXT)), (2, 14): None})

ANSWERS = {
    "GET /os-migrations": Told(
        200,
        Shape(
            Field("migrations", array(_LISTED_MIGRATION)),
            optional("migrations_links", NEXT, since=(2, 59)),
        ),
    ),
    f"GET {_SERVER}/migrations": Told(200, Shape(Field("migrations", array(_SHOWN_MIGRATION)))),
    f"GET {_ONE_MIGRATION}": Told(200, Shape(Field("migration", _SHOWN_MIGRATION))),
    f"DELETE {_ONE_MIGRATION}": Told(202),
    f"POST {_ONE_MIGRATION}/action force_complete": Told(202),
    f"POST {_SERVER}/action resize": Told(202),
    f"POST {_SERVER}/action confirmResize": Told(204),
    f"POST {_SERVER}/action revertResize": Told(202),
    f"POST {_SERVER}/action migrate": Told(202),
    f"POST {_SERVER}/action os-migrateLive": Told(202),
    f"POST {_SERVER}/action shelve": Told(202),
    f"POST {_SERVER}/action shelveOffload": Told(202),
    f"POST {_SERVER}/action unshelve": Told(202),
    f"POST {_SERVER}/action evacuate": Told(200, _EVACUATED),
}
"""Method and path (and action) -> what a request that succeeds is told."""
