"""What a request that succeeds is told."""

import functools
from typing import Any

from jsonschema import Draft202012Validator

from tests.functional.api.answers.shapes import FIRST, Node, Successive, Version, schema_at


class Told:
    """A status and the body that comes with it; None is no body. ``statuses`` says which status counts
    from which microversion, where it changed; ``or_else`` is another that may come. With ``or_nothing`` the
    body may be left out."""

    def __init__(
        self,
        status: int,
        body: Node = None,
        *,
        statuses: dict[Version, int] | None = None,
        or_else: int | None = None,
        or_nothing: bool = False,
    ) -> None:
        self._statuses = {FIRST: status} | (statuses or {})
        self._or_else = or_else
        self.or_nothing = or_nothing
        self.body = body
        self._validator = functools.cache(self._compiled)

    def statuses_at(self, version: Version) -> set[int | None]:
        """Return the statuses that may come at a microversion."""
        known = max(since for since in self._statuses if since <= version)
        return {self._statuses[known], self._or_else}

    def has_body_at(self, version: Version) -> bool:
        """Whether a body comes at a microversion."""
        body = self.body
        return (body.at(version) if isinstance(body, Successive) else body) is not None

    def _compiled(self, version: Version) -> Draft202012Validator:
        return Draft202012Validator(schema_at(self.body, version))

    def wrong_with(self, body: Any, version: Version) -> str | None:
        """Return what is wrong with a body, or None."""
        for error in self._validator(version).iter_errors(body):
            where = "/".join(str(step) for step in error.absolute_path)
            # Of several forms, the one that fits best says what is wrong.
            inner = [
                f"{'/'.join(map(str, e.path))}: {e.message[:300]}" for e in error.context or ()
            ]
            return f"{where}: {error.message[:300]} {inner[:8]}"
        return None
