"""Every route of the table stands behind a policy rule."""

import re

from oslo_policy import policy

from kilonova.api.policies import list_rules
from kilonova.api.resources import OWN_ROUTES, ROUTES
from kilonova.api.routing import Route
from kilonova.api.servers.actions import ACTS
from tests.functional.api.api_case import ADMIN, ApiCase
from tests.functional.api.bodies import ACTIONS, OLD_ACTIONS

RULES = {r.name: r for r in list_rules() if isinstance(r, policy.DocumentedRuleDefault)}


def _shape(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def _version(route: Route) -> str:
    return ".".join(str(part) for part in route.when.until)


class RoutesTest(ApiCase):
    """With a policy that refuses every rule."""

    def options(self) -> str:
        path = self.directory / "policy.yaml"
        path.write_text("".join(f'"{name}": "!"\n' for name in RULES))
        return f"[oslo_policy]\npolicy_file = {path}\n"

    def test_the_table_names_only_rules_that_exist(self) -> None:
        unknown = [(r.method, r.path, r.rule) for r in ROUTES if r.rule and r.rule not in RULES]
        self.assertEqual([], unknown)

    def test_every_route_is_documented_by_a_rule(self) -> None:
        documented = {
            (operation["method"], _shape(operation["path"]))
            for rule in RULES.values()
            for operation in rule.operations
        }
        missing = {(r.method, _shape(r.path)) for r in ROUTES} - documented
        self.assertEqual(set(), missing)

    def test_what_rules_document_is_served(self) -> None:
        served = {(r.method, _shape(r.path)) for r in ROUTES}
        served |= {(r.method, _shape(f"/kilonova/v1{r.path}")) for r in OWN_ROUTES}
        for rule in RULES.values():
            for operation in rule.operations:
                self.assertIn((operation["method"], _shape(operation["path"])), served, rule.name)

    def test_a_refused_rule_refuses_its_routes_even_to_administrators(self) -> None:
        for route in ROUTES:
            if route.rule is None:
                continue
            path = re.sub(r"{\w+}", "1", route.path)
            answer = self.ask(route.method, path, version=_version(route), token=ADMIN)
            self.assertEqual(403, answer.status_code, f"{route.method} {path}: {answer.text}")
            self.assertIn(route.rule, answer.text)

    def test_a_refused_rule_refuses_its_action(self) -> None:
        for path, bodies in ACTIONS.items():
            for body in bodies:
                (action,) = body
                answer = self.ask("POST", re.sub(r"{\w+}", "1", path), body, token=ADMIN)
                self.assertEqual(403, answer.status_code, f"{action}: {answer.text}")
        for body in OLD_ACTIONS:
            answer = self.ask("POST", "/servers/1/action", body, version="2.5", token=ADMIN)
            self.assertEqual(403, answer.status_code, f"{body}: {answer.text}")

    def test_routes_without_a_rule_are_those_of_actions(self) -> None:
        without = {route.path for route in ROUTES if route.rule is None}
        self.assertEqual(ACTIONS.keys(), without)

    def test_every_action_of_servers_has_a_rule_and_is_tried(self) -> None:
        self.assertLessEqual({act.rule for act in ACTS.values()}, RULES.keys())
        bodies = (*ACTIONS["/servers/{server_id}/action"], *OLD_ACTIONS)
        tried = {next(iter(body)) for body in bodies}
        self.assertEqual(ACTS.keys(), tried)

    def test_nothing_is_answered_without_a_token(self) -> None:
        for route in ROUTES:
            path = re.sub(r"{\w+}", "1", route.path)
            answer = self.client.simulate_request(route.method, f"/v2.1{path}")
            self.assertEqual(401, answer.status_code, f"{route.method} {path}")
