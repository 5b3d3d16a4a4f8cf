"""Where a limit comes from."""

import sqlalchemy as sa
import testscenarios

from kilonova.core.ids import ProjectId, UserId
from kilonova.core.quota import Limits
from kilonova.db import quotas
from tests.functional.db.api_database import ApiDatabaseTest

load_tests = testscenarios.load_tests_apply_scenarios

A, B = ProjectId("a"), ProjectId("b")
ANN, BOB = UserId("ann"), UserId("bob")
CONFIGURED = Limits(instances=3, cores=6)


class QuotasTest(ApiDatabaseTest):
    """The nearest limit counts."""

    def _limits(self, project: ProjectId = A, user: UserId | None = None) -> Limits:
        return quotas.limits_of(self.db, CONFIGURED, project, user)

    def test_without_any_of_its_own_a_project_has_the_configured_limits(self) -> None:
        self.assertEqual(CONFIGURED, self._limits())

    def test_class_project_and_user_override_each_other_in_that_order(self) -> None:
        quotas.set_class_limits(self.db, "default", {"instances": 4, "cores": 8, "key_pairs": 9})
        quotas.set_limits(self.db, A, {"cores": 16, "key_pairs": 10})
        quotas.set_limits(self.db, A, {"key_pairs": 1}, ANN)
        mine = self._limits(user=ANN)
        self.assertEqual((4, 16, 1), (mine.instances, mine.cores, mine.key_pairs))
        self.assertEqual(10, self._limits(user=BOB).key_pairs)
        self.assertEqual(10, self._limits().key_pairs)
        self.assertEqual((4, 8, 9), self._of(self._limits(B, ANN)))

    def _of(self, limits: Limits) -> tuple[int, int, int]:
        return limits.instances, limits.cores, limits.key_pairs

    def test_another_class_is_nobodys_default(self) -> None:
        quotas.set_class_limits(self.db, "gold", {"instances": 99})
        self.assertEqual(CONFIGURED, self._limits())
        self.assertEqual(99, quotas.limits_of_class(self.db, CONFIGURED, "gold").instances)
        self.assertEqual(CONFIGURED, quotas.limits_of_class(self.db, CONFIGURED, "tin"))

    def test_reading_limits_is_one_statement(self) -> None:
        seen: list[str] = []
        for engine in self.db.engines:
            sa.event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
        self._limits(user=ANN)
        self.assertEqual(1, len(seen), seen)

    def test_a_limit_set_again_is_replaced(self) -> None:
        quotas.set_limits(self.db, A, {"cores": 16})
        quotas.set_limits(self.db, A, {"cores": -1, "ram": 0})
        self.assertEqual((-1, 0), (self._limits().cores, self._limits().ram))

    def test_resetting_a_user_leaves_the_project_and_resetting_the_project_takes_all(self) -> None:
        quotas.set_limits(self.db, A, {"cores": 16})
        quotas.set_limits(self.db, A, {"key_pairs": 1}, ANN)
        quotas.set_limits(self.db, B, {"cores": 1})
        quotas.reset_limits(self.db, A, ANN)
        self.assertEqual((100, 16), (self._limits(user=ANN).key_pairs, self._limits().cores))
        quotas.set_limits(self.db, A, {"key_pairs": 1}, ANN)
        quotas.reset_limits(self.db, A)
        self.assertEqual(CONFIGURED, self._limits(user=ANN))
        self.assertEqual(1, self._limits(B).cores)

    def test_a_project_that_never_had_a_server_uses_nothing(self) -> None:
        used = quotas.used_by(self.db, A)
        self.assertEqual((0, 0, 0), (used.instances, used.cores, used.ram))
