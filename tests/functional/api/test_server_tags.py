"""Tags of servers through the API."""

from kilonova.core.clock import utcnow
from kilonova.db import instances
from tests.functional.api.api_case import ANN
from tests.functional.api.population import ACTIVE, FAILED, WAITING, Populated

TAGS = f"/servers/{ACTIVE}/tags"


class ServerTagsTest(Populated):
    """A server that has the tag red."""

    def _tags(self) -> list[str]:
        tags: list[str] = self.asked(200, "GET", TAGS, token=ANN)["tags"]
        return tags

    def test_tags_are_replaced_and_removed_together(self) -> None:
        body = {"tags": ["b", "a", "b"]}
        self.assertEqual({"tags": ["b", "a"]}, self.asked(200, "PUT", TAGS, body, token=ANN))
        shown = self.asked(200, "GET", f"/servers/{ACTIVE}", token=ANN)["server"]
        self.assertEqual(["b", "a"], shown["tags"])
        self.asked(204, "DELETE", TAGS, token=ANN)
        self.assertEqual([], self._tags())

    def test_a_server_has_at_most_fifty_tags(self) -> None:
        many = [f"t{number}" for number in range(50)]
        self.asked(200, "PUT", TAGS, {"tags": many})
        self.refused(400, "50", "PUT", f"{TAGS}/more")
        self.asked(204, "PUT", f"{TAGS}/t7")
        self.refused(400, "tags", "PUT", TAGS, {"tags": [*many, "more"]})
        self.assertEqual(many, self._tags())

    def test_what_is_no_tag_is_refused(self) -> None:
        for tag in ("a,b", "t" * 61):
            self.refused(400, "Tag", "PUT", f"{TAGS}/{tag}")
            self.refused(400, "tags", "PUT", TAGS, {"tags": [tag]})
        self.refused(400, "tags", "PUT", TAGS, {"tags": [""]})
        self.refused(400, "tags", "PUT", TAGS, {"tags": ["a/b"]})
        self.refused(400, "of type 'null'", "PUT", f"{TAGS}/blue", {"tag": "blue"})
        self.assertEqual(["red"], self._tags())

    def test_tags_of_a_server_in_error_or_without_a_cell_stay(self) -> None:
        self.refused(409, "vm_state error", "PUT", f"/servers/{FAILED}/tags/blue")
        self.refused(409, "scheduling", "DELETE", f"/servers/{WAITING}/tags")
        self.assertEqual({"tags": []}, self.asked(200, "GET", f"/servers/{WAITING}/tags"))

    def test_a_server_that_is_gone_has_no_tags(self) -> None:
        instances.mark_deleted(self.cell_db, [ACTIVE], utcnow())
        for method, path in (("GET", TAGS), ("DELETE", TAGS), ("PUT", f"{TAGS}/blue")):
            self.refused(404, ACTIVE, method, path)
