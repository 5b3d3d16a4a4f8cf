"""Who may do what: the words in which rules are written (secure RBAC, project scope).

The words are rules themselves, under the names that operators know, so that one line of a policy file
changes all the rules that are written in it.
"""

import msgspec

CONTEXT_IS_ADMIN = "context_is_admin"

ADMIN = f"rule:{CONTEXT_IS_ADMIN}"
ADMIN_OR_SERVICE = f"{ADMIN} or rule:service_api"
MANAGER = "rule:project_manager_or_admin"
MEMBER = "rule:project_member_or_admin"
READER = "rule:project_reader_or_admin"
OWNER_READER = f"{ADMIN} or user_id:%(user_id)s"
ANYBODY = "@"

WORDS: tuple[tuple[str, str, str], ...] = (
    (
        CONTEXT_IS_ADMIN,
        "role:admin",
        "Who is an administrator: of all projects, and in spite of locks.",
    ),
    ("admin_api", "is_admin:True", "What administrators do."),
    ("admin_or_owner", "is_admin:True or project_id:%(project_id)s", "What a project does."),
    ("service_api", "role:service", "What other services do."),
    (
        "project_manager_api",
        "role:manager and project_id:%(project_id)s",
        "What the managers of a project do.",
    ),
    (
        "project_member_api",
        "role:member and project_id:%(project_id)s",
        "What the members of a project do.",
    ),
    (
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "What the readers of a project see.",
    ),
    (
        "project_manager_or_admin",
        f"rule:project_manager_api or {ADMIN}",
        "What the managers of a project and administrators do.",
    ),
    (
        "project_member_or_admin",
        f"rule:project_member_api or {ADMIN}",
        "What the members of a project and administrators do.",
    ),
    (
        "project_reader_or_admin",
        f"rule:project_reader_api or {ADMIN}",
        "What the readers of a project and administrators see.",
    ),
)
"""(name, who, description). ``is_admin`` is whoever passes ``context_is_admin``."""


class Rule(msgspec.Struct, frozen=True):
    """A rule: its name, who passes it, what it allows, and the (method, path) pairs that ask it."""

    name: str
    who: str
    description: str
    operations: tuple[tuple[str, str], ...]
