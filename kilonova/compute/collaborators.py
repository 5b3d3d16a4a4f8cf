"""Whom a host's services work with."""

from dataclasses import dataclass

from kilonova.compute.driver import Driver
from kilonova.compute.shares import HostShares
from kilonova.compute.volumes import HostVolumes
from kilonova.compute.wiring import Wiring
from kilonova.http.images import ImageStore


@dataclass(frozen=True)
class Collaborators:
    """The hypervisor, and those who keep images, volumes, shares and networks."""

    driver: Driver
    images: ImageStore
    volumes: HostVolumes
    shares: HostShares
    wiring: Wiring
