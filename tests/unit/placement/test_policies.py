"""Who may do what in Placement, by default."""

import testtools
from oslo_policy import policy

from kilonova.core import settings
from kilonova.core.context import RequestContext, new_request_id
from kilonova.core.ids import ProjectId, UserId
from kilonova.placement.policies import Policy, enforcer_for

LIST, USAGES, RESHAPE = (
    "placement:resource_providers:list",
    "placement:usages",
    "placement:reshaper:reshape",
)


def asker(*roles: str, project: str = "ours", scope: str = "") -> RequestContext:
    """Return the context of a request."""
    return RequestContext(
        request_id=new_request_id(),
        user_id=UserId("ann"),
        project_id=ProjectId(project),
        roles=roles,
        system_scope=scope,
    )


class PolicyTest(testtools.TestCase):
    """Real rules, and a clock that the tests set."""

    def setUp(self) -> None:
        """Have the default rules."""
        super().setUp()
        self.now = 0.0
        self.enforcer = self._enforcer(new_defaults=True)
        self.policy = Policy(self.enforcer, clock=lambda: self.now)

    def _enforcer(self, *, new_defaults: bool) -> policy.Enforcer:
        conf = settings.new_config()
        conf([])
        enforcer = enforcer_for(conf)
        conf.set_override("enforce_new_defaults", new_defaults, "oslo_policy")
        return enforcer

    def test_the_defaults(self) -> None:
        for rule, roles, allowed in (
            (LIST, ("admin",), True),
            (LIST, ("service",), True),
            (LIST, ("member", "reader"), False),
            (LIST, (), False),
            (USAGES, ("reader",), True),
            (USAGES, ("member",), False),
            (RESHAPE, ("service",), True),
            (RESHAPE, ("admin",), False),
        ):
            self.assertEqual(
                allowed, self.policy.allows(rule, "ours", asker(*roles)), (rule, roles)
            )

    def test_a_reader_reads_what_is_its_own_projects(self) -> None:
        self.assertFalse(self.policy.allows(USAGES, "theirs", asker("reader")))
        self.assertTrue(self.policy.allows(USAGES, "theirs", asker("reader", project="theirs")))

    def test_who_acts_for_the_whole_system_acts_for_no_project(self) -> None:
        self.assertFalse(self.policy.allows(LIST, "", asker("admin", scope="all")))

    def test_the_deprecated_defaults_give_administrators_everything(self) -> None:
        old = Policy(self._enforcer(new_defaults=False))
        self.assertTrue(old.allows(RESHAPE, "ours", asker("admin")))
        self.assertFalse(old.allows(RESHAPE, "ours", asker("member", "reader")))

    def test_an_answer_holds_for_a_second(self) -> None:
        self.assertFalse(self.policy.allows(LIST, "ours", asker("auditor")))
        self.enforcer.set_rules(policy.Rules.from_dict({LIST: "role:auditor"}), use_conf=False)
        self.now = 0.9
        self.assertFalse(self.policy.allows(LIST, "ours", asker("auditor")))
        self.assertTrue(self.policy.allows(LIST, "ours", asker("auditor", "other")))
        self.now = 1.1
        self.assertTrue(self.policy.allows(LIST, "ours", asker("auditor")))

    def test_an_answer_is_nobody_elses(self) -> None:
        self.assertTrue(self.policy.allows(USAGES, "ours", asker("reader")))
        self.assertFalse(self.policy.allows(USAGES, "ours", asker("reader", project="theirs")))
        self.assertFalse(self.policy.allows(USAGES, "ours", asker()))
