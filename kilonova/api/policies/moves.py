"""Rules of what moves servers, and of migrations."""

from kilonova.api.policies.base import ADMIN, MANAGER, MEMBER, Rule

_A = "os_compute_api"
_ACTION = (("POST", "/servers/{server_id}/action"),)
_MIGRATION = "/servers/{server_id}/migrations/{migration_id}"

RULES = (
    Rule(f"{_A}:servers:resize", MEMBER, "Change the size of a server.", _ACTION),
    Rule(f"{_A}:servers:confirm_resize", MEMBER, "Keep a server's new size or host.", _ACTION),
    Rule(
        f"{_A}:servers:revert_resize", MEMBER, "Give a server its old size and host back.", _ACTION
    ),
    Rule(f"{_A}:os-migrate-server:migrate", MANAGER, "Move a server to another host.", _ACTION),
    Rule(f"{_A}:os-migrate-server:migrate:host", ADMIN, "Name the host to move it to.", _ACTION),
    Rule(f"{_A}:os-migrate-server:migrate_live", MANAGER, "Move a server while it runs.", _ACTION),
    Rule(
        f"{_A}:os-migrate-server:migrate_live:host",
        ADMIN,
        "Name the host to move it to while it runs.",
        _ACTION,
    ),
    Rule(f"{_A}:os-evacuate", ADMIN, "Build a server anew whose host is dead.", _ACTION),
    Rule(f"{_A}:os-shelve:shelve", MEMBER, "Shelve a server.", _ACTION),
    Rule(f"{_A}:os-shelve:unshelve", MEMBER, "Bring a shelved server back.", _ACTION),
    Rule(f"{_A}:os-shelve:unshelve_to_host", ADMIN, "Name the host to bring it back to.", _ACTION),
    Rule(f"{_A}:os-shelve:shelve_offload", ADMIN, "Free a shelved server's host.", _ACTION),
    Rule(
        f"{_A}:servers:migrations:force_complete",
        MANAGER,
        "Bring a live migration to its end.",
        (("POST", f"{_MIGRATION}/action"),),
    ),
    Rule(
        f"{_A}:servers:migrations:delete",
        MANAGER,
        "Abort a live migration.",
        (("DELETE", _MIGRATION),),
    ),
)
