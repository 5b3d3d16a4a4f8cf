"""Where a guest's screen or serial line can be reached, by those who are let through."""

import msgspec


class ConsoleAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a compute host. ``path`` is a path inside it, where the protocol has one; ``tls_port`` is
    another port for TLS."""

    host: str
    port: int
    path: str | None = None
    tls_port: int | None = None


KINDS: dict[str, frozenset[str]] = {
    "vnc": frozenset({"novnc", "xvpvnc"}),
    "spice": frozenset({"spice-html5", "spice-direct"}),
    "serial": frozenset({"serial"}),
    "mks": frozenset({"webmks"}),
}
"""Protocol -> types of consoles that speak it (Compute API reference, "Create Console")."""
