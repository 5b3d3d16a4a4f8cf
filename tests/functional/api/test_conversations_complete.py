"""That the conversations leave out nothing: every route, every fault, both sides of every microversion.

They are only read here. What each request expects is what it is answered, or its conversation fails.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import testtools

from kilonova.api.microversions import MAXIMUM, MINIMUM, VERSIONS, Version
from kilonova.api.resources import OLD_ROUTES, OWN_ROUTES, ROUTES
from kilonova.api.routing import ActOn, Route, Schemas
from kilonova.api.versions import negotiate
from kilonova.core.errors import KilonovaError
from tests.functional.api import conversation_files
from tests.functional.api.answers import ANSWERS, Asked

_MEANT = re.compile(r"(\$HISTORY\['[^']*'\]\.)?\$\w+\['[^']*'\]")
"""What gabbi puts something else for, when it has been answered."""

_NEVER_DONE = {
    "GET /os-hosts/{host}/startup": 501,
    "GET /os-hosts/{host}/shutdown": 501,
    "GET /os-hosts/{host}/reboot": 501,
    "POST /servers/{server_id}/shares": 400,
    "GET /servers/{server_id}/shares/{share_id}": 404,
    "DELETE /servers/{server_id}/shares/{share_id}": 404,
    "POST /servers/{server_id}/action resetNetwork": 410,
    "POST /servers/{server_id}/action os-getRDPConsole": 410,
    "POST /servers/{server_id}/action shelveOffload": 409,
}
"""Routes and actions whose only answer is a refusal."""


class _Told:
    """A request of a conversation: its route as ``answers`` calls it, its microversion and its status."""

    def __init__(self, test: dict[str, Any], routes: dict[str, list[Route]]) -> None:
        self.method, url = next((key, test[key]) for key in test if key.isupper())
        self.path = _MEANT.sub("1", url)
        self.status = int(test.get("status", 200))
        asked = test["request_headers"].get("openstack-api-version", "compute 2.1")
        self.version = _version(asked.rpartition(" ")[2])
        body = test.get("data")
        self.action = next(iter(body), "") if isinstance(body, dict) else ""
        self.is_open = url.startswith("$")


def _version(text: str) -> Version | None:
    try:
        return negotiate(text)
    except KilonovaError:
        return None
