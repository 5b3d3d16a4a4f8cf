"""The cloud that clients are tried on: pretended hosts behind a real Keystone and a real Glance."""

from tests.integration import services
from tests.integration.deployment import Deployment, Sections, fake_hosts

HOSTS = ("fake-0", "fake-1")
"""Hosts that one process plays."""

LONE = "lone"
"""A host with a process of its own, which a test may stop."""


_STEPS = [{"step": "live-migrate", "server": "lengthy", "seconds": 30}]


def describe() -> Deployment:
    """Return the deployment, not yet started. Without Neutron, a host gives a server its address."""
    hosts = [fake_hosts("fake", len(HOSTS)), fake_hosts(LONE, 1)]
    for host in hosts:
        host.plays["steps"] = _STEPS
    settings: Sections = {"network": {"provider": "libvirt"}}
    return Deployment("clients", services.mariadb(), hosts, settings=settings)
