"""The domain XML of a container: a pure function, as ``domain_xml`` is for virtual machines.

A container has a kernel in common with its host, so it has no firmware, no disks and no screen: it has a
file system, a program that it starts with, and a terminal.
"""

import shlex
from collections.abc import Iterator
from pathlib import PurePath
from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.domain_xml import add_identity
from kilonova.compute.libvirt.elements import boot, cpu, memory, nics
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.asked import Malformed
from kilonova.core.errors import BuildAborted
from kilonova.core.hardware import Hardware, hardware_of
from kilonova.core.image import Image
from kilonova.core.instance import Instance

CONFIG_DRIVE = "/var/lib/cloud/seed/config_drive"
"""Where cloud-init looks for a config drive that is a directory."""
_INIT = "/sbin/init"
_PERIOD = 100_000
"""Microseconds over which a container's CPU time is counted, where the flavor does not say."""


def container_xml(instance: Instance, place: Place) -> str:
    """Return the XML of a container as text; ``place.disk`` is a raw file, ``config_drive`` a directory.

    Raises:
        Malformed: its flavor or its image asks for hardware that cannot be, or its image names no program.
        BuildAborted: it asks for what no container has.
    """
    hardware = hardware_of(instance.flavor, instance.image)
    for what in _missing(instance, hardware):
        raise BuildAborted(f"Containers have no {what}.")
    domain = ET.Element("domain", type=place.virt_type)
    add_identity(domain, instance)
    memory.add_memory(domain, instance.flavor)
    cpu.add_vcpus(domain, instance.flavor, place)
    _add_cpu_limits(domain, instance, hardware)
    _add_program(domain, instance.image, place)
    # Without it a container that has no card would have all of the host's.
    add(add(domain, "features"), "privnet")
    boot.add_endings(domain)
    parts = add(domain, "devices")
    if place.disk is not None:
        root = add(parts, "filesystem", {"type": "file", "accessmode": "passthrough"})
        add(root, "driver", {"type": "loop", "format": "raw"})
        add(root, "source", {"file": place.disk})
        add(root, "target", {"dir": "/"})
    if place.config_drive is not None:
        drive = add(parts, "filesystem", {"type": "mount", "accessmode": "passthrough"})
        add(drive, "source", {"dir": place.config_drive})
        add(drive, "target", {"dir": CONFIG_DRIVE})
        add(drive, "readonly")
    nics.add_nics(parts, place, hardware)
    add(add(parts, "console", {"type": "pty"}), "target", {"type": "lxc", "port": "0"})
    return ET.tostring(domain, encoding="unicode")


def _missing(instance: Instance, hardware: Hardware) -> Iterator[str]:
    """Yield what a server asks for and a container cannot have. What only looks different is not in it."""
    if hardware.cells is not None:
        yield "NUMA cells, huge pages or CPUs of their own"
    if hardware.tpm is not None:
        yield "TPM"
    if hardware.limits.disk:
        yield "limits of disk rates"
    if instance.volumes:
        yield "volumes"


def _add_cpu_limits(domain: ET.Element, instance: Instance, hardware: Hardware) -> None:
    """Add how much of the host's CPUs the whole container gets: as much as its VCPUs have, and of each the
    part that the flavor says."""
    limits = hardware.limits.cpu
    period = limits.get("period", _PERIOD)
    quota = limits.get("quota", -1)
    tuning = add(domain, "cputune")
    if "shares" in limits:
        add(tuning, "shares", text=str(limits["shares"]))
    add(tuning, "period", text=str(period))
    each = period if quota < 0 else min(quota, period)
    add(tuning, "quota", text=str(each * instance.flavor.vcpus))


def _add_program(domain: ET.Element, image: Image | None, place: Place) -> None:
    system = add(domain, "os")
    add(system, "type", {"arch": place.arch}, "exe")
    first, *others = _program(image)
    add(system, "init", text=first)
    for word in others:
        add(system, "initarg", text=word)


def _program(image: Image | None) -> list[str]:
    """Return what a container starts with: what ``os_command`` says; else /sbin/init, its arguments those
    of ``os_command_line``."""
    properties = image.properties if image else {}
    command = properties.get("os_command") or ""
    try:
        words = shlex.split(command) or [_INIT, *shlex.split(properties.get("os_command_line", ""))]
    except ValueError as error:
        raise Malformed("os_command or os_command_line is no command line") from error
    if not PurePath(words[0]).is_absolute():
        raise Malformed("os_command does not begin with an absolute path")
    if any(not character.isprintable() for word in words for character in word):
        raise Malformed("os_command or os_command_line has characters that are not printable")
    return words
