"""What a guest's XML depends on beside the guest: where its files are, and what this host has."""

from collections.abc import Mapping

import msgspec

from kilonova.core.instance import Nic
from kilonova.core.local_disks import LocalDisk

X86 = ("x86_64", "i686")
"""The architectures of a PC."""


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A disk beside the root disk, and the raw file that it is."""

    disk: LocalDisk
    path: str


class Pins(msgspec.Struct, frozen=True, kw_only=True):
    """What the host picked for a guest: VCPU -> host CPU for each that is pinned, host CPUs that the
    others share (empty for any), those that QEMU's own threads run on, guest cell -> host cell, and guest
    cell -> KiB of its pages where they are huge."""

    cpus: Mapping[int, int] = {}
    shared: frozenset[int] = frozenset()
    emulator: frozenset[int] = frozenset()
    cells: Mapping[int, int] = {}
    pages: Mapping[int, int] = {}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a guest lives on this host.

    ``virt_type`` is a domain type of libvirt; ``arch`` an architecture; ``disk`` and ``config_drive`` are
    paths or None; ``rescue`` is the disk that a rescued guest starts from instead; ``direct`` tells whether
    disks can do without the host's page cache.
    ``console_socket`` is where the serial console can be spoken to, None for nowhere; ``network`` the
    libvirt network of the cards, and ``nic_filter`` the network filter that keeps them honest. ``devices``
    are addresses of PCI devices that are the guest's alone, and ``vgpus`` UUIDs of mediated ones.
    ``variables`` is the file in which UEFI keeps what it is to remember, None for one of libvirt's own.
    ``mounts`` is where shares are mounted.
    """

    virt_type: str
    arch: str
    console_log: str
    console_socket: str | None = None
    disk: str | None = None
    rescue: str | None = None
    local: tuple[LocalFile, ...] = ()
    config_drive: str | None = None
    direct: bool = True
    nics: tuple[Nic, ...] = ()
    network: str = ""
    nic_filter: str | None = None
    pins: Pins | None = None
    devices: tuple[str, ...] = ()
    vgpus: tuple[str, ...] = ()
    variables: str | None = None
    mounts: str = ""
