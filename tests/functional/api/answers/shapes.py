"""A small language for answers by microversion: a shape is a closed object whose fields come and go.

A node of a schema is JSON Schema (2020-12) in which a ``Shape`` or a ``Successive`` may stand wherever a
schema may; ``schema_at`` returns it as plain JSON Schema at a microversion.
"""

from typing import Any

Version = tuple[int, int]
Node = Any

FIRST: Version = (2, 1)
LAST: Version = (2, 9999)


class Field:
    """A field of an object from one microversion to another; ``optional`` where it is not always there."""

    def __init__(
        self,
        name: str,
        node: Node,
        since: Version = FIRST,
        until: Version = LAST,
        *,
        optional: bool = False,
    ) -> None:
        self.name = name
        self.node = node
        self.since = since
        self.until = until
        self.optional = optional


class Shape:
    """An object that has these fields, and no others."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields

    def but(self, *fields: Field, without: tuple[str, ...] = ()) -> "Shape":
        """Return the shape with more fields, and without some."""
        return Shape(*(field for field in self.fields if field.name not in without), *fields)


class Successive:
    """A node that became another: the newest that is not newer than the microversion counts.

    None stands for no body at all, where this is the whole of one.
    """

    def __init__(self, nodes: dict[Version, Node]) -> None:
        self.nodes = nodes

    def at(self, version: Version) -> Node:
        """Return the node that counts."""
        return self.nodes[max(since for since in self.nodes if since <= version)]


def optional(name: str, node: Node, since: Version = FIRST, until: Version = LAST) -> Field:
    """Return a field that is not always there."""
    return Field(name, node, since, until, optional=True)


def schema_at(node: Node, version: Version) -> Node:
    """Return the JSON Schema of a node at a microversion."""
    if isinstance(node, Shape):
        present = [field for field in node.fields if field.since <= version <= field.until]
        return {
            "type": "object",
            "properties": {field.name: schema_at(field.node, version) for field in present},
            "required": [field.name for field in present if not field.optional],
            "additionalProperties": False,
        }
    if isinstance(node, Successive):
        return schema_at(node.at(version), version)
    if isinstance(node, dict):
        return {key: schema_at(value, version) for key, value in node.items()}
    if isinstance(node, list):
        return [schema_at(one, version) for one in node]
    return node


def steps_of(node: Node) -> set[Version]:
    """Return the microversions at which something comes or goes."""
    if isinstance(node, Shape):
        own = {field.since for field in node.fields}
        own |= {(until[0], until[1] + 1) for f in node.fields if (until := f.until) != LAST}
        return own.union(*(steps_of(field.node) for field in node.fields))
    if isinstance(node, Successive):
        return set(node.nodes).union(*(steps_of(one) for one in node.nodes.values()))
    if isinstance(node, dict):
        return set().union(*(steps_of(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(steps_of(one) for one in node))
    return set()


def array(node: Node) -> Node:
    """Return an array of a node."""
    return {"type": "array", "items": node}


def or_null(node: dict[str, Any]) -> Node:
    """Return a node that may be null."""
    return {"anyOf": [node, {"type": "null"}]}


TEXT = {"type": "string"}
NAME = {"type": "string", "minLength": 1, "maxLength": 255}
BOOLEAN = {"type": "boolean"}
WHOLE = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
LIMIT = {"type": "integer", "minimum": -1}
NUMBER = {"type": "number", "minimum": 0}
NULL = {"type": "null"}
FALSE = {"const": False}
UUID = {
    "type": "string",
    "pattern": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z",
}
SECOND = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z"}
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\Z"}
ITEMS = {"type": "object", "additionalProperties": TEXT}


def _link(rel: str) -> Shape:
    return Shape(
        Field("rel", {"const": rel}),
        Field("href", {"type": "string", "pattern": "^https?://[^/]+/"}),
    )


BOOKMARK = {"type": "array", "prefixItems": [_link("bookmark")], "items": False, "minItems": 1}
LINKS = {
    "type": "array",
    "prefixItems": [_link("self"), _link("bookmark")],
    "items": False,
    "minItems": 2,
}
NEXT = {"type": "array", "prefixItems": [_link("next")], "items": False, "minItems": 1}
