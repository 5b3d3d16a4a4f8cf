"""What is a public key, and its fingerprint."""

import base64
from datetime import datetime

import testtools
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from kilonova.api import public_keys
from kilonova.core.errors import Invalid
from kilonova.core.ids import UserId

NOW = datetime(2026, 5, 1, 12, 0, 0)

ED25519 = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOnFV4OhEF7f2Z/SnPO1p68WplEAoILPJQmtuZOOANUP someone@home"
)
ED25519_MD5 = "d8:0a:e7:dc:25:ba:3f:b7:3a:13:d4:de:a1:14:7c:47"
"""What ``ssh-keygen -l -E md5`` says of it."""


class PublicKeysTest(testtools.TestCase):
    """Keys that clients bring, and keys that are made for them."""

    def test_the_fingerprint_is_the_one_that_ssh_keygen_shows(self) -> None:
        self.assertEqual(ED25519_MD5, public_keys.ssh_fingerprint(ED25519))
        self.assertEqual(ED25519_MD5, public_keys.ssh_fingerprint(ED25519 + "\n"))

    def test_what_is_no_ssh_key_is_refused(self) -> None:
        for wrong in ("", " ", "ssh-rsa", "ssh-rsa AAAA", "hello world", "ssh-ed25519 \ud800 x"):
            error = self.assertRaises(Invalid, public_keys.ssh_fingerprint, wrong)
            self.assertIn("public_key", str(error))

    def test_a_second_line_would_be_a_second_key_and_is_refused(self) -> None:
        for end in ("\n", "\r", "\x0b", "\u2028"):
            self.assertRaises(Invalid, public_keys.ssh_fingerprint, f"{ED25519}{end}{ED25519}")

    def test_a_made_ssh_key_fits_its_private_half(self) -> None:
        made, private = public_keys.new_key_pair("k", "ssh", UserId("ann"), NOW)
        key = load_pem_private_key(private.encode(), None)
        numbers = key.public_key().public_numbers()  # type: ignore[union-attr]
        self.assertEqual(65537, numbers.e)  # type: ignore[union-attr]
        self.assertEqual(made, public_keys.key_pair_of("k", "ssh", made.public_key))

    def test_a_made_certificate_is_its_users_and_comes_with_its_key(self) -> None:
        user = UserId("u" * 200)
        made, private = public_keys.new_key_pair("k", "x509", user, NOW)
        key, certificate, _ = pkcs12.load_key_and_certificates(base64.b64decode(private), None)
        assert key is not None and certificate is not None
        self.assertEqual(key.public_key(), certificate.public_key())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        principal = names.value.get_values_for_type(x509.OtherName)[0]
        self.assertTrue(principal.value.endswith(f"{user}@localhost".encode()))
        self.assertEqual(NOW, certificate.not_valid_before_utc.replace(tzinfo=None))
        self.assertEqual(made.fingerprint, public_keys.x509_fingerprint(made.public_key))
        self.assertEqual(20, len(made.fingerprint.split(":")))

    def test_what_is_no_certificate_is_refused(self) -> None:
        for wrong in ("", ED25519, "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"):
            self.assertRaises(Invalid, public_keys.x509_fingerprint, wrong)
