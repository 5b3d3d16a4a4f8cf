"""A host's own key and certificate, made when a guest first comes, and the port at which it listens."""

import hashlib
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LASTS = timedelta(days=36500)
"""Nobody trusts it for longer than a berth is open: it is known by its fingerprint."""


class Identity(msgspec.Struct, frozen=True):
    """``pem`` is key and certificate, ``fingerprint`` the SHA-256 of the certificate in hexadecimal."""

    pem: Path
    fingerprint: str

    def context(self) -> ssl.SSLContext:
        """Return what a listener speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.pem)
        return context


def identity(directory: Path) -> Identity:
    """Return the identity that is kept in a directory, made now if there is none.

    Raises:
        OSError, ValueError: it cannot be written or read.
    """
    pem = directory / "identity.pem"
    if not pem.exists():
        partial = pem.with_suffix(".new")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
            file.write(_made())
        partial.rename(pem)
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    return Identity(pem, fingerprint(certificate.public_bytes(serialization.Encoding.DER)))


def fingerprint(der: bytes) -> str:
    """Return how a certificate is known."""
    return hashlib.sha256(der).hexdigest()


def _made() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kilonova-compute")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LASTS)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
