"""Key pairs: ``/os-keypairs``. Each is a user's; administrators may act for others from 2.10 on."""

from typing import Any

from kilonova.api import notices, parameters, public_keys
from kilonova.api.limits import limits_of
from kilonova.api.microversions import ALWAYS, Since
from kilonova.api.paging import next_links, page
from kilonova.api.parameters import SHORT, TEXT, closed, values
from kilonova.api.routing import Answer, Asked, Route, Schemas
from kilonova.api.views import key_pairs as views
from kilonova.core.clock import utcnow
from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair
from kilonova.db import key_pairs
from kilonova.rpc.notifications.key_pairs import of_key_pair
from kilonova.rpc.notifications.notification import Payload

_RULE = "os_compute_api:os-keypairs"

_OLD_NAME = SHORT | {
    "pattern": r"^(?! )[a-zA-Z0-9 _-]+(?<! )\Z",
    "description": "letters, digits, spaces, hyphens and underscores, no space at the edges",
}
_NEW_NAME = SHORT | {
    "pattern": r"^(?! )[a-zA-Z0-9 @._-]+(?<! )\Z",
    "description": "letters, digits, spaces and any of @._- with no space at the edges",
}
_FIELDS = {"name": _OLD_NAME, "public_key": TEXT}
_TYPED = _FIELDS | {"type": {"enum": ["ssh", "x509"]}}
_OWNED = _TYPED | {"user_id": SHORT}
_CREATE = Schemas(
    {
        ALWAYS: closed({"keypair": closed(_FIELDS, "name")}, "keypair"),
        Since.KEY_PAIR_TYPES: closed({"keypair": closed(_TYPED, "name")}, "keypair"),
        Since.KEY_PAIRS_OF_OTHERS: closed({"keypair": closed(_OWNED, "name")}, "keypair"),
        Since.KEY_PAIRS_IMPORTED: closed(
            {"keypair": closed(_OWNED | {"name": _NEW_NAME}, "name", "public_key")}, "keypair"
        ),
    }
)
_OWNER = {"user_id": values(TEXT)}
_ONE_QUERY = parameters.queries({Since.KEY_PAIRS_OF_OTHERS: _OWNER}, strict=Since.STRICT_LISTS)
_LIST_QUERY = parameters.queries(
    {Since.KEY_PAIRS_OF_OTHERS: _OWNER, Since.KEY_PAIR_PAGES: _OWNER | parameters.PAGE},
    strict=Since.STRICT_LISTS,
)


def _owner(asked: Asked, rule: str, named: str | None) -> UserId:
    user = asked.context.user_id
    if asked.version in Since.KEY_PAIRS_OF_OTHERS and named:
        user = UserId(named)
    asked.authorize(f"{_RULE}:{rule}", user_id=user)
    return user


def list_key_pairs(asked: Asked) -> Answer:
    """Answer a user's key pairs, from 2.35 on by pages."""
    user = _owner(asked, "index", asked.one("user_id"))
    paged = asked.version in Since.KEY_PAIR_PAGES
    limit, marker = page(asked) if paged else (parameters.MOST, None)
    found = key_pairs.list_key_pairs(asked.services.api_db, user, limit=limit, marker=marker)
    body: dict[str, Any] = {
        "keypairs": [{"keypair": views.brief(one.key_pair, asked.version)} for one in found]
    }
    names = [one.key_pair.name for one in found]
    if paged and (links := next_links(asked, "/os-keypairs", limit, names)):
        body["keypairs_links"] = links
    return Answer(body)


def show(asked: Asked, name: str) -> Answer:
    """Answer one key pair."""
    user = _owner(asked, "show", asked.one("user_id"))
    found = key_pairs.get(asked.services.api_db, user, name)
    return Answer({"keypair": views.full(found, asked.version)})


def create(asked: Asked) -> Answer:
    """Keep a public key; below 2.92 and without one, make a pair and hand out its private key."""
    wanted = asked.body["keypair"]
    user = _owner(asked, "create", wanted.get("user_id"))
    name, kind, now = wanted["name"], wanted.get("type", "ssh"), utcnow()
    private_key: str | None = None
    what = "import" if "public_key" in wanted else "create"
    if "public_key" in wanted:
        made = public_keys.key_pair_of(name, kind, wanted["public_key"])
    else:
        made, private_key = public_keys.new_key_pair(name, kind, user, now)
    limit = limits_of(asked, asked.context.project_id, user).key_pairs
    # It has neither of the two when it is only asked for.
    blank = KeyPair(name=name, kind=kind, fingerprint="", public_key=wanted.get("public_key", ""))
    with notices.told(
        asked,
        f"keypair.{what}",
        lambda: of_key_pair(blank, user),
        lambda: of_key_pair(made, user),
    ):
        key_pairs.create(asked.services.api_db, user, made, limit=limit, now=now)
    return Answer(
        {"keypair": views.created(made, user, private_key, asked.version)},
        status=201 if asked.version in Since.KEY_PAIR_TYPES else 200,
    )


def delete(asked: Asked, name: str) -> Answer:
    """Remove a key pair."""
    user = _owner(asked, "delete", asked.one("user_id"))
    api_db = asked.services.api_db

    def gone() -> Payload:
        return of_key_pair(key_pairs.get(api_db, user, name).key_pair, user)

    with notices.told(asked, "keypair.delete", gone):
        key_pairs.delete(api_db, user, name)
    return Answer(status=204 if asked.version in Since.KEY_PAIR_TYPES else 202)


ROUTES = (
    Route("GET", "/os-keypairs", f"{_RULE}:index", list_key_pairs, query=_LIST_QUERY),
    Route("POST", "/os-keypairs", f"{_RULE}:create", create, body=_CREATE),
    Route("GET", "/os-keypairs/{name}", f"{_RULE}:show", show, query=_ONE_QUERY),
    Route("DELETE", "/os-keypairs/{name}", f"{_RULE}:delete", delete, query=_ONE_QUERY),
)
