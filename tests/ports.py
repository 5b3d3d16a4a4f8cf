"""Ports of loopback for what tests start."""

import random
import socket

_PORTS = range(20000, 32000)
"""Below the range from which the kernel takes the ports of outgoing connections, one of which could
otherwise take a port before its listener does, or while that is away."""
_chance = random.SystemRandom()


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return that many ports."""
    found: list[int] = []
    for port in _chance.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"Not {count} free ports between {_PORTS.start} and {_PORTS.stop}.")
