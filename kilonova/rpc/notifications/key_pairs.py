"""Payloads of ``keypair.create``, ``keypair.import`` and ``keypair.delete``, and of a server's key."""

from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair
from kilonova.rpc.notifications.notification import Payload, versioned


def of_key_pair(key_pair: KeyPair, user: UserId) -> Payload:
    """Return the payload of a user's key pair. There is no private key in it."""
    data = {
        "user_id": user,
        "name": key_pair.name,
        "fingerprint": key_pair.fingerprint or None,
        "public_key": key_pair.public_key or None,
        "type": key_pair.kind,
    }
    return versioned("KeypairPayload", "1.0", data)
