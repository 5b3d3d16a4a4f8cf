"""Servers that are kept after their deletion, short of what happens on hosts."""

from kilonova.core.errors import BusUnavailable
from kilonova.core.states import VmState
from kilonova.rpc.memory import MemoryBus
from tests.functional.api.api_case import ANN, BOB
from tests.functional.api.population import ACTIVE
from tests.functional.api.test_server_actions import PATH, ActionCase


class KeptTest(ActionCase):
    """For an hour."""

    def options(self) -> str:
        return "[DEFAULT]\nreclaim_instance_interval = 3600\n" + super().options()

    def used(self) -> int:
        """Return how many servers count for Ann's project."""
        limits = self.asked(200, "GET", "/limits", token=ANN)["limits"]["absolute"]
        return int(limits["totalInstancesUsed"])

    def cut_the_bus(self) -> None:
        """Let no host be told anything."""

        def refuse(*_: object, **__: object) -> None:
            raise BusUnavailable("The bus does not answer.")

        self.patch(MemoryBus, "cast", refuse)

    def test_what_a_host_cannot_be_told_is_as_if_it_had_not_been_asked(self) -> None:
        before = (self.asked(200, "GET", f"/servers/{ACTIVE}"), self.used())
        self.cut_the_bus()
        self.asked(503, "DELETE", f"/servers/{ACTIVE}", token=ANN)
        self.assertEqual(before, (self.asked(200, "GET", f"/servers/{ACTIVE}"), self.used()))

    def test_a_restoration_that_its_host_cannot_be_told_counts_for_nothing(self) -> None:
        used = self.used()
        self.asked(204, "DELETE", f"/servers/{ACTIVE}", token=ANN)
        self.become(VmState.SOFT_DELETED)
        self.assertEqual(used - 1, self.used())
        self.cut_the_bus()
        self.asked(503, "POST", PATH, {"restore": None}, token=ANN)
        self.assertEqual(used - 1, self.used())
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}", token=ANN)["server"]
        self.assertEqual("SOFT_DELETED", shown["status"])

    def test_it_is_deleted_from_the_moment_that_its_owner_said_so(self) -> None:
        self.asked(204, "DELETE", f"/servers/{ACTIVE}", token=ANN)
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}", token=ANN)["server"]
        self.assertEqual(
            ("SOFT_DELETED", "soft-deleting"), (shown["status"], shown["OS-EXT-STS:task_state"])
        )
        listed = self.asked(200, "GET", "/servers", token=ANN)["servers"]
        self.assertNotIn(ACTIVE, [server["id"] for server in listed])
        self.refused(409, "task_state", "POST", PATH, {"restore": None}, token=ANN)

    def test_its_owner_does_not_list_it_by_its_status_and_nobody_else_restores_it(self) -> None:
        self.become(VmState.SOFT_DELETED)
        for query in ("status=SOFT_DELETED", "soft_deleted=True", "deleted=True"):
            listed = self.asked(200, "GET", f"/servers?{query}", token=ANN)["servers"]
            self.assertNotIn(ACTIVE, [server["id"] for server in listed], query)
        self.asked(404, "POST", PATH, {"restore": None}, token=BOB)

    def test_a_lock_keeps_it_from_its_owner(self) -> None:
        self.become(VmState.ACTIVE, locked_by="owner")
        self.refused(409, "is locked", "DELETE", f"/servers/{ACTIVE}", token=ANN)
        self.become(VmState.SOFT_DELETED, locked_by="owner")
        self.refused(409, "is locked", "POST", PATH, {"restore": None}, token=ANN)

    def test_what_is_busy_is_deleted_for_good(self) -> None:
        self.become(VmState.SHELVED)
        self.asked(204, "DELETE", f"/servers/{ACTIVE}", token=ANN)
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}")["server"]
        self.assertEqual("deleting", shown["OS-EXT-STS:task_state"])
