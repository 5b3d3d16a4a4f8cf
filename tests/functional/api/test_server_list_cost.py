"""What a page of servers costs, however many are on it."""

import msgspec

from kilonova.api import host_statuses
from kilonova.core.clock import utcnow
from kilonova.core.ids import HostName, InstanceUuid, NodeName
from kilonova.core.instance import Fault
from kilonova.core.states import PowerState, VmState
from kilonova.db import instances
from kilonova.db.instances import Placed
from tests.functional.api.api_case import ADMIN, ApiCase
from tests.functional.db import servers
from tests.functional.pipeline.wire import Statements

MANY = 1000


def placed(number: int) -> Placed:
    """Return a server; every other is in ERROR, with a fault to be looked for."""
    failed = number % 2 == 0
    server = servers.instance(
        uuid=InstanceUuid(f"cccccccc-0000-4000-8000-{number:012}"),
        vm_state=VmState.ERROR if failed else VmState.ACTIVE,
        task_state=None,
        power_state=PowerState.RUNNING,
        host=HostName("h1"),
        node=NodeName("h1.example"),
        metadata={"a": "b"},
        tags=("red", "green"),
    )
    fault = Fault(code=500, message="It broke.", created_at=utcnow()) if failed else None
    return Placed(instance=server, action=servers.placed(uuid=server.uuid).action, fault=fault)


class CostTest(ApiCase):
    """Statements, which no list multiplies."""

    def page(self, path: str) -> int:
        """Return how many servers an administrator is shown on a page."""
        headers = {"X-Auth-Token": ADMIN, "OpenStack-API-Version": "compute 2.104"}
        answer = self.client.simulate_get(f"/v2.1{path}", headers=headers)
        self.assertEqual(200, answer.status_code, answer.text)
        return len(msgspec.json.decode(answer.content)["servers"])

    def test_a_thousand_servers_take_as_many_statements_as_one(self) -> None:
        self.add_host("h1")
        statements = Statements(self)
        paths = ("/servers/detail?all_tenants=1", "/servers?all_tenants=1")
        instances.insert(self.cell_db, [placed(0)])
        self.assertEqual([1, 1], [self.page(path) for path in paths])
        # The hosts' states were read just now; however long a page takes, they are not read again.
        self.patch(host_statuses, "_KEPT", 3600.0)
        of_one = [statements.during(lambda p=path: self.page(p)) for path in paths]
        instances.insert(self.cell_db, [placed(number) for number in range(1, MANY)])
        self.assertEqual([MANY, MANY], [self.page(path) for path in paths])
        of_many = [statements.during(lambda p=path: self.page(p)) for path in paths]
        self.assertEqual(of_one, of_many)
        self.assertLessEqual(sum(of_many[0].values()), 6, statements.seen)
