"""Key pairs as the API shows them."""

from typing import Any

from kilonova.api.microversions import Since, Version
from kilonova.api.views.fields import Field, shown
from kilonova.api.views.moments import precise
from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair
from kilonova.db.key_pairs import OwnedKeyPair

_BRIEF: tuple[Field[KeyPair], ...] = (
    Field("name", lambda key_pair: key_pair.name),
    Field("public_key", lambda key_pair: key_pair.public_key),
    Field("fingerprint", lambda key_pair: key_pair.fingerprint),
    Field("type", lambda key_pair: key_pair.kind, when=Since.KEY_PAIR_TYPES),
)


def brief(key_pair: KeyPair, version: Version) -> dict[str, Any]:
    """Return a key pair of a list."""
    return shown(_BRIEF, key_pair, version)


def created(
    key_pair: KeyPair, user: UserId, private_key: str | None, version: Version
) -> dict[str, Any]:
    """Return a key pair as it is answered to its creation, with the private key if one was made."""
    view = brief(key_pair, version) | {"user_id": user}
    if private_key is not None:
        view["private_key"] = private_key
    return view


def full(owned: OwnedKeyPair, version: Version) -> dict[str, Any]:
    """Return a whole key pair. It never changes and is gone when it is deleted, as some fields say."""
    return brief(owned.key_pair, version) | {
        "user_id": owned.user_id,
        "id": owned.number,
        "created_at": precise(owned.created_at),
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
