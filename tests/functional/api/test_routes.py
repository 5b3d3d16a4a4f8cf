"""Every route of the table stands behind a policy rule."""

import re

from oslo_policy import policy

from kilonova.api.policies import list_rules
from kilonova.api.resources import OWN_ROUTES, ROUTES
from kilonova.api.routing import Route
from kilonova.api.servers.actions import ACTS
from tests.functional.api.api_case import ADMIN, ApiCase
from tests.functional.api.bodies import ACTIONS, OLD_ACTIONS
from tests.functional.api.population import IMAGE, VOLUME

ATTACHMENT = "/servers/{server_id}/os-volume_attachments/{volume_id}"
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

    def test_routes_without_a_rule_are_those_whose_body_says_which_they_need(self) -> None:
        without = {route.path for route in ROUTES if route.rule is None}
        self.assertEqual(ACTIONS.keys() | {ATTACHMENT}, without)

    def test_a_volume_is_put_in_anothers_place_by_one_rule_and_changed_by_another(self) -> None:
        path = ATTACHMENT.format(server_id="1", volume_id=VOLUME)
        for version, volume, rule in (
            ("2.84", VOLUME, "swap"),
            ("2.84", IMAGE.image_id, "swap"),
            ("2.85", VOLUME, "update"),
            ("2.85", IMAGE.image_id, "swap"),
        ):
            body = {"volumeAttachment": {"volumeId": volume}}
            name = f"os_compute_api:os-volumes-attachments:{rule} "
            self.refused(403, name, "PUT", path, body, version=version, token=ADMIN)

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
