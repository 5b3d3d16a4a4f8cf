"""The rest of a guest's devices: consoles, screen, entropy, watchdog, TPM, the agent's channel."""

from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import X86, Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.hardware import Hardware, is_q35

_SPARE_PORTS = 8
"""Ports of a PCI Express machine that stay free for what is plugged in later; others have room anyway."""
_BALLOON_SECONDS = "10"
"""How often a guest tells what it uses of its memory."""
_AGENT = "org.qemu.guest_agent.0"


def add_controllers(devices: ET.Element, hardware: Hardware) -> None:
    """Add the ports that later devices will need."""
    if is_q35(hardware.machine):
        # What a port is plugged into must be named before it.
        add(devices, "controller", {"type": "pci", "index": "0", "model": "pcie-root"})
        for _ in range(_SPARE_PORTS):
            add(devices, "controller", {"type": "pci", "model": "pcie-root-port"})


def add_serial(devices: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add the serial ports. What the first says is kept in a file, whether somebody listens or not."""
    for port in range(hardware.serial_ports):
        if port:
            serial = add(devices, "serial", {"type": "pty"})
        elif place.console_socket is None:
            serial = add(devices, "serial", {"type": "file"})
            add(serial, "source", {"path": place.console_log, "append": "on"})
        else:
            serial = add(devices, "serial", {"type": "unix"})
            add(serial, "source", {"mode": "bind", "path": place.console_socket})
            add(serial, "log", {"file": place.console_log, "append": "on"})
        add(serial, "target", {"port": str(port)})


def add_screen(devices: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add a screen, which listens nowhere: libvirt lets this host's door to it, and nobody by network."""
    add(add(devices, "graphics", {"type": "vnc"}), "listen", {"type": "none"})
    model = {"type": hardware.video or ("vga" if place.arch in X86 else "virtio")}
    if hardware.video_mb:
        model["vram"] = str(hardware.video_mb << 10)
    add(add(devices, "video"), "model", model)
    if hardware.tablet:
        add(devices, "input", {"type": "tablet", "bus": "usb"})


def add_others(devices: ET.Element, hardware: Hardware) -> None:
    """Add entropy, watchdog, TPM, sound, the agent's channel, and the balloon."""
    if hardware.rng is not None:
        random = add(devices, "rng", {"model": "virtio"})
        if hardware.rng.rate:
            rate = {"bytes": str(hardware.rng.rate), "period": str(hardware.rng.period)}
            add(random, "rate", rate)
        add(random, "backend", {"model": "random"}, "/dev/urandom")
    if hardware.watchdog is not None:
        add(devices, "watchdog", {"model": "i6300esb", "action": hardware.watchdog})
    if hardware.tpm is not None:
        tpm = add(devices, "tpm", {"model": hardware.tpm.model})
        add(tpm, "backend", {"type": "emulator", "version": hardware.tpm.version})
    if hardware.sound is not None:
        add(devices, "sound", {"model": hardware.sound})
    if hardware.guest_agent:
        channel = add(devices, "channel", {"type": "unix"})
        add(channel, "target", {"type": "virtio", "name": _AGENT})
    balloon = add(devices, "memballoon", {"model": "virtio"})
    add(balloon, "stats", {"period": _BALLOON_SECONDS})


def add_passed_through(devices: ET.Element, place: Place) -> None:
    """Add the host's devices that are the guest's alone: PCI ones, and mediated ones."""
    for address in place.devices:
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        host = add(devices, "hostdev", {"mode": "subsystem", "type": "pci", "managed": "no"})
        where = {"domain": domain, "bus": bus, "slot": slot, "function": function}
        add(add(host, "source"), "address", {name: f"0x{n}" for name, n in where.items()})
    for uuid in place.vgpus:
        mediated = {"mode": "subsystem", "type": "mdev", "managed": "no", "model": "vfio-pci"}
        host = add(devices, "hostdev", mediated)
        add(add(host, "source"), "address", {"uuid": uuid})
