"""Who asks, and the ids of requests."""

import re

import testtools

from kilonova.core.context import RequestContext, new_request_id, service_context
from kilonova.core.ids import CELL0, RequestId

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class ContextTest(testtools.TestCase):
    """Ids are OpenStack's, so that its log tools find them."""

    def test_a_request_id_is_req_and_a_random_uuid(self) -> None:
        made = {new_request_id() for _ in range(100)}
        self.assertEqual(100, len(made))
        for one in made:
            self.assertTrue(re.fullmatch(f"req-{UUID4}", one), one)

    def test_an_administrator_holds_the_role_admin_and_no_other_tells(self) -> None:
        for roles, is_admin in (
            (("admin",), True),
            (("member", "admin"), True),
            (("root",), False),
        ):
            context = RequestContext(request_id=RequestId("r"), user_id="admin", roles=roles)  # type: ignore[arg-type]
            self.assertEqual(is_admin, context.is_admin)

    def test_a_service_acts_as_an_administrator_under_an_id_of_its_own(self) -> None:
        self.assertTrue(service_context().is_admin)
        self.assertNotEqual(service_context().request_id, service_context().request_id)

    def test_the_cell_of_servers_without_host_is_the_zero_uuid(self) -> None:
        self.assertEqual("00000000-0000-0000-0000-000000000000", CELL0)
