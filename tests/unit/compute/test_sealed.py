"""Passwords that only the owner of a key reads."""

import base64

import testtools
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kilonova.compute.sealed import sealed
from kilonova.core.instance import KeyPair

RSA = generate_private_key(65537, 2048)


def key_pair(public: bytes, kind: str = "ssh") -> KeyPair:
    """Return a key pair of a public key."""
    return KeyPair(name="k", kind=kind, fingerprint="", public_key=public.decode())


def openssh(private: object) -> bytes:
    """Return the public half of a key as ssh has it."""
    public: bytes = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public


class SealedTest(testtools.TestCase):
    """Each kind of key."""

    def test_who_has_the_private_key_reads_it(self) -> None:
        text = sealed("pässword", key_pair(openssh(RSA)))
        assert text is not None
        self.assertEqual("pässword".encode(), RSA.decrypt(base64.b64decode(text), PKCS1v15()))

    def test_what_cannot_encrypt_seals_nothing(self) -> None:
        for pair in (
            None,
            key_pair(openssh(Ed25519PrivateKey.generate())),
            key_pair(openssh(RSA), kind="x509"),
            key_pair(b"ssh-rsa nonsense"),
        ):
            self.assertIsNone(sealed("secret", pair))

    def test_a_password_that_is_longer_than_the_key_is_not_sealed(self) -> None:
        self.assertIsNone(sealed("x" * 500, key_pair(openssh(RSA))))
