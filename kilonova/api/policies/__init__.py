"""The API's policy rules: the Compute API's under the names and with the defaults that operators know.

Each resource's rules are a table in a module of their own: (name, who, description, operations).
"""

from collections.abc import Iterable
from functools import cache

from oslo_config import cfg
from oslo_policy import policy

from kilonova.api.policies import (
    accounts,
    decisions,
    desired,
    flavors,
    hosts,
    moves,
    networks,
    servers,
    vitals,
    volumes,
)
from kilonova.api.policies.base import WORDS, Rule

_TABLES: tuple[tuple[Rule, ...], ...] = (
    servers.RULES,
    moves.RULES,
    networks.RULES,
    flavors.RULES,
    hosts.RULES,
    accounts.RULES,
    decisions.RULES,
    desired.RULES,
    vitals.RULES,
    volumes.RULES,
)


def _default(rule: Rule) -> policy.DocumentedRuleDefault:
    return policy.DocumentedRuleDefault(
        name=rule.name,
        check_str=rule.who,
        description=rule.description,
        operations=[{"method": method, "path": path} for method, path in rule.operations],
        scope_types=["project"],
    )


def list_rules() -> list[policy.RuleDefault]:
    """Return every rule, for enforcement and for the sample file."""
    words = [
        policy.RuleDefault(name, who, description=description, scope_types=["project"])
        for name, who, description in WORDS
    ]
    rules: Iterable[Rule] = (rule for table in _TABLES for rule in table)
    return [*words, *(_default(rule) for rule in rules)]


def enforcer_for(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return an enforcer of these rules under a configuration."""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    return enforcer


@cache
def get_enforcer() -> policy.Enforcer:
    """Return the enforcer that oslo.policy's command line tools ask for."""
    conf = cfg.ConfigOpts()
    conf([], project="kilonova")
    return enforcer_for(conf)
