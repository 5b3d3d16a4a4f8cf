"""Rules of servers' volumes."""

from kilonova.api.policies.base import ADMIN_OR_SERVICE, MEMBER, READER, Rule

_A = "os_compute_api:os-volumes-attachments"
_ALL = "/servers/{server_id}/os-volume_attachments"
_ONE = "/servers/{server_id}/os-volume_attachments/{volume_id}"

RULES = (
    Rule(f"{_A}:index", READER, "List a server's volumes.", (("GET", _ALL),)),
    Rule(f"{_A}:create", MEMBER, "Attach a volume to a server.", (("POST", _ALL),)),
    Rule(f"{_A}:show", READER, "Show a volume of a server.", (("GET", _ONE),)),
    Rule(f"{_A}:update", MEMBER, "Say whether a volume ends with its server.", (("PUT", _ONE),)),
    Rule(
        f"{_A}:swap", ADMIN_OR_SERVICE, "Put another volume in a volume's place.", (("PUT", _ONE),)
    ),
    Rule(
        "os_compute_api:os-assisted-volume-snapshots:create",
        ADMIN_OR_SERVICE,
        "Have a host snapshot a volume.",
        (("POST", "/os-assisted-volume-snapshots"),),
    ),
    Rule(
        "os_compute_api:os-assisted-volume-snapshots:delete",
        ADMIN_OR_SERVICE,
        "Have a host merge a snapshot of a volume.",
        (("DELETE", "/os-assisted-volume-snapshots/{snapshot_id}"),),
    ),
    Rule(f"{_A}:delete", MEMBER, "Detach a volume from a server.", (("DELETE", _ONE),)),
)
