"""The OpenAPI document, and every operation in it called with what its schemas allow and what not."""

import logging
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from kilonova.api.resources import OWN_ROUTES, ROUTES
from tests.functional.api.api_case import ADMIN, ApiCase

_HEADERS = {"X-Auth-Token": ADMIN}
_DOCUMENT = "/kilonova/v1/openapi.json"


class OpenApiTest(ApiCase):
    """The document that is served."""

    def _document(self, version: str = "latest") -> dict[str, Any]:
        answer = self.client.simulate_get(_DOCUMENT, headers=_HEADERS, params={"version": version})
        self.assertEqual(200, answer.status_code, answer.text)
        document: dict[str, Any] = answer.json
        return document

    def test_it_is_valid_at_the_oldest_and_the_newest_microversion(self) -> None:
        for version in ("2.1", "2.60", "latest"):
            OPENAPI_31_VALIDATOR.validate(self._document(version))

    def test_every_route_stands_in_it_where_it_is_served(self) -> None:
        newest, oldest = self._document()["paths"], self._document("2.1")["paths"]
        for mount, routes in (("/v2.1", ROUTES), ("/kilonova/v1", OWN_ROUTES)):
            for route in routes:
                for paths, version in ((newest, (2, 104)), (oldest, (2, 1))):
                    method = route.method.lower()
                    if version in route.when:
                        self.assertIn(method, paths[mount + route.path])

    def test_schemas_are_those_of_the_microversion(self) -> None:
        self.assertNotIn("description", self._flavor_fields("2.54"))
        self.assertIn("description", self._flavor_fields("2.55"))

    def _flavor_fields(self, version: str) -> Any:
        operation = self._document(version)["paths"]["/v2.1/flavors"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return schema["properties"]["flavor"]["properties"]

    def test_a_microversion_that_there_is_not_is_refused(self) -> None:
        for version, status in (("2.105", 406), ("new", 400)):
            answer = self.client.simulate_get(
                _DOCUMENT, headers=_HEADERS, params={"version": version}
            )
            self.assertEqual(status, answer.status_code)

    def test_no_operation_fails_whatever_it_is_called_with(self) -> None:
        logging.getLogger("kilonova.api.app").setLevel(logging.WARNING)
        schema = schemathesis.openapi.from_wsgi(_DOCUMENT, self.client.app, headers=_HEADERS)
        operations = [result.ok() for result in schema.get_all_operations()]
        described = self._document()["paths"].values()
        self.assertEqual(sum(map(len, described)), len(operations))
        for operation in operations:
            self._call(operation)

    def _call(self, operation: Any) -> None:
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=5,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def try_it(case: Any) -> None:
                answer = case.call(headers=_HEADERS)
                self.assertLess(answer.status_code, 500, f"{case.as_curl_command()}: {answer.text}")

            try_it()
