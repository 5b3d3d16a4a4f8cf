"""A password that only the owner of a key pair can read. A pure function but for the padding's chance."""

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from kilonova.core.instance import KeyPair


def sealed(password: str, key_pair: KeyPair | None) -> str | None:
    """Return a password encrypted with a public key (RSA, PKCS #1 v1.5, in base64), as clients decrypt it.

    None where there is no key, or one that cannot encrypt.
    """
    if key_pair is None or key_pair.kind != "ssh":
        return None
    try:
        key = load_ssh_public_key(key_pair.public_key.encode())
        if not isinstance(key, RSAPublicKey):
            return None
        return base64.b64encode(key.encrypt(password.encode(), PKCS1v15())).decode()
    except (ValueError, UnsupportedAlgorithm):
        # Not a key, or one too short for the password.
        return None
