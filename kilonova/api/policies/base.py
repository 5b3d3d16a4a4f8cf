"""Who may do what: the words in which rules are written (secure RBAC, project scope)."""

import msgspec

ADMIN = "role:admin"
ADMIN_OR_SERVICE = "role:admin or role:service"
MANAGER = "role:admin or (role:manager and project_id:%(project_id)s)"
MEMBER = "role:admin or (role:member and project_id:%(project_id)s)"
READER = "role:admin or (role:reader and project_id:%(project_id)s)"
OWNER_READER = "role:admin or user_id:%(user_id)s"
ANYBODY = "@"


class Rule(msgspec.Struct, frozen=True):
    """A rule: its name, who passes it, what it allows, and the (method, path) pairs that ask it."""

    name: str
    who: str
    description: str
    operations: tuple[tuple[str, str], ...]
