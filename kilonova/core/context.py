"""Who asks, and under which request id: travels with every message and into every log line."""

import uuid

import msgspec
from oslo_context import context as oslo_context

from kilonova.core.ids import ProjectId, RequestId, UserId


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """One request's identity.

    ``trace`` is the W3C ``traceparent`` of the caller, or empty.
    """

    request_id: RequestId
    global_request_id: str = ""
    user_id: UserId = UserId("")
    project_id: ProjectId = ProjectId("")
    roles: tuple[str, ...] = ()
    system_scope: str = ""
    trace: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the role ``admin`` is held (what each rule makes of it is policy's affair)."""
        return "admin" in self.roles


def new_request_id() -> RequestId:
    """Return a fresh id in OpenStack's form, ``req-<uuid4>``."""
    return RequestId(f"req-{uuid.uuid4()}")


def service_context(request_id: RequestId | None = None) -> RequestContext:
    """Return the context under which a service acts for itself (heartbeats, convergence).

    With ``request_id`` it carries on what that request asked for.
    """
    return RequestContext(request_id=request_id or new_request_id(), roles=("admin", "service"))


def log_under(context: RequestContext) -> None:
    """Name a request, and who asks, in whatever this thread logs from now on."""
    oslo_context.RequestContext(
        request_id=context.request_id,
        global_request_id=context.global_request_id or None,
        user_id=context.user_id or None,
        project_id=context.project_id or None,
        overwrite=True,
    )
