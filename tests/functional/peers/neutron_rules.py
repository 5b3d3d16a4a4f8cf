"""Who sees what at the network service of the tests, and how it says no."""

from typing import Any

Document = dict[str, Any]


class Refusal(Exception):
    """An answer that says no, as Neutron says it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def project_of(token: str) -> str:
    """Return the project of a token."""
    return token.partition(":")[2] or token


def is_admin(token: str) -> bool:
    """Whether a token is an administrator's."""
    return token.partition(":")[0] == "admin"


def sees(thing: Document, token: str) -> bool:
    """Whether who has a token sees a thing."""
    public = thing.get("shared") or thing.get("router:external") or "cidr" in thing
    return bool(public) or is_admin(token) or thing["project_id"] == project_of(token)


def fits(thing: Document, key: str, value: Any) -> bool:
    """Whether a thing has what a query wants."""
    wanted = value if isinstance(value, list) else [value]
    if key == "fixed_ips":
        return any(f"ip_address={one['ip_address']}" in wanted for one in thing["fixed_ips"])
    return str(thing.get(key)) in wanted
