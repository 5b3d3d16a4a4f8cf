"""Public keys: what is a valid one, its fingerprint, and new ones for clients that bring none.

Pure but for the randomness of new keys. Private keys that are made here are handed out once and
never stored.
"""

import base64
import binascii
import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kilonova.core.errors import Invalid
from kilonova.core.ids import UserId
from kilonova.core.instance import KeyPair

_RSA_BITS = 2048
_CERTIFICATE_LIFE = timedelta(days=3650)
_USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_MOST_OF_A_COMMON_NAME = 64


def key_pair_of(name: str, kind: str, public_key: str) -> KeyPair:
    """Return the key pair of a public key that a client brought. ``kind`` is ``ssh`` or ``x509``.

    Raises:
        Invalid: the public key is not one of that kind.
    """
    fingerprint = ssh_fingerprint(public_key) if kind == "ssh" else x509_fingerprint(public_key)
    return KeyPair(name=name, kind=kind, fingerprint=fingerprint, public_key=public_key)


def ssh_fingerprint(public_key: str) -> str:
    """Return the MD5 of a public key in OpenSSH's one-line form, as hexadecimal pairs (RFC 4716, 4).

    Raises:
        Invalid: it is not such a line.
    """
    # The line goes into authorized_keys, where a line break would begin a key that nobody checked.
    line = public_key.strip()
    if len(line.splitlines()) != 1:
        raise Invalid("Keypair data is invalid: public_key must be one line.")
    try:
        serialization.load_ssh_public_key(line.encode())
        blob = base64.b64decode(line.split()[1])
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise Invalid("Keypair data is invalid: public_key is not an SSH public key.") from error
    return _pairs(hashlib.md5(blob, usedforsecurity=False).digest())


def x509_fingerprint(certificate: str) -> str:
    """Return the SHA-1 of a certificate in PEM, as hexadecimal pairs.

    Raises:
        Invalid: it is not a certificate.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(
            "Keypair data is invalid: public_key is not an X.509 certificate in PEM."
        ) from error
    # A name for the certificate that clients compare, not a protection of anything.
    return _pairs(parsed.fingerprint(hashes.SHA1()))  # noqa: S303


def _pairs(digest: bytes) -> str:
    return binascii.hexlify(digest, ":").decode()


def new_key_pair(name: str, kind: str, user: UserId, now: datetime) -> tuple[KeyPair, str]:
    """Make a key of 2048 bits and return its pair and the private key.

    The private key is PEM for ``ssh``; for ``x509`` it is PKCS #12 in base64, and the public key is a
    self-signed certificate that lets the user log in over WinRM.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    if kind == "ssh":
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return key_pair_of(name, kind, f"{public.decode()} Generated-by-kilonova"), private.decode()
    certificate = _certificate(key, user, now)
    bundle = pkcs12.serialize_key_and_certificates(
        None, key, certificate, None, serialization.NoEncryption()
    )
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return key_pair_of(name, kind, text), base64.b64encode(bundle).decode()


def _certificate(key: rsa.RSAPrivateKey, user: UserId, now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user[:_MOST_OF_A_COMMON_NAME])])
    principal = x509.OtherName(_USER_PRINCIPAL_NAME, _utf8_string(f"{user}@localhost"))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _CERTIFICATE_LIFE)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([principal]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _utf8_string(text: str) -> bytes:
    """Return a DER UTF8String (X.690, 8.1.3: lengths over 127 carry the number of their bytes)."""
    content = text.encode()
    size = len(content)
    if size < 128:
        return b"\x0c" + bytes([size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x0c" + bytes([0x80 | len(length)]) + length + content
