"""What the API's handlers work with."""

import time

import msgspec
from oslo_config import cfg
from oslo_policy import policy

from kilonova.api.acceptance import Acceptance
from kilonova.api.host_statuses import HostStatuses
from kilonova.api.policies.base import CONTEXT_IS_ADMIN
from kilonova.core.context import RequestContext
from kilonova.core.ids import CellUuid
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.http.images import ImageStore
from kilonova.http.networks import Networks
from kilonova.http.shares import Shares
from kilonova.http.volumes import Volumes
from kilonova.placement.client import Placement
from kilonova.rpc.bus import Bus
from kilonova.rpc.connect import Buses
from kilonova.rpc.notifications.notifier import Notifier

_REMEMBERED = 5.0


class Policy:
    """oslo.policy's answers, remembered for a few seconds.

    They depend on nothing but the rule, the asker, whose it is, and the policy file, which oslo.policy
    reads again when it has changed and is asked.
    """

    def __init__(self, enforcer: policy.Enforcer) -> None:
        self._enforcer = enforcer
        self._known: dict[tuple[object, ...], bool] = {}
        self._since = time.monotonic()

    def allows(self, rule: str, context: RequestContext, project_id: str, user_id: str) -> bool:
        """Whether the asker may do what ``rule`` names to what belongs to a project and user."""
        if time.monotonic() - self._since > _REMEMBERED or len(self._known) > 10_000:
            self._known.clear()
            self._since = time.monotonic()
        asker = (context.roles, context.system_scope, context.project_id, context.user_id)
        key = (rule, asker, project_id, user_id)
        known = self._known.get(key)
        if known is None:
            target = {"project_id": project_id, "user_id": user_id}
            credentials: dict[str, object] = {
                "user_id": context.user_id,
                "project_id": context.project_id,
                "roles": list(context.roles),
                "system_scope": context.system_scope or None,
            }
            credentials["is_admin"] = self._enforcer.enforce(CONTEXT_IS_ADMIN, target, credentials)
            known = bool(self._enforcer.enforce(rule, target, credentials))
            self._known[key] = known
        return known


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The collaborators of a running API. ``bus`` is the top level's, ``networks`` None without a
    network service."""

    conf: cfg.ConfigOpts
    api_db: Database
    cells: Cells
    buses: Buses
    bus: Bus
    acceptance: Acceptance
    images: ImageStore
    volumes: Volumes
    shares: Shares
    policy: Policy
    host_statuses: HostStatuses
    placement: Placement
    notifier: Notifier
    networks: Networks | None = None

    def cell_bus(self, cell_uuid: CellUuid) -> Bus:
        """Return the bus of a cell.

        Raises:
            NotFound: there is no such cell.
        """
        return self.buses.at(self.cells.get(cell_uuid).transport_url)
