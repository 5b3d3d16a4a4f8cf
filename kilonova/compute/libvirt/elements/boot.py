"""How a guest starts, what it is told of its machine, and what becomes of it when it ends."""

from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import X86, Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.hardware import Hardware
from kilonova.core.instance import Instance

_PRODUCT = "OpenStack Compute"
"""By this product name cloud-init knows, on x86, that there is a metadata service to ask."""
_USUAL = "pc"


def add_system(domain: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add what the firmware is and what it boots."""
    system = add(domain, "os")
    x86 = place.arch in X86
    usual = _USUAL if x86 else "virt"
    machine = {} if place.virt_type == "test" else {"machine": hardware.machine or usual}
    add(system, "type", {"arch": place.arch, **machine}, "hvm")
    if hardware.uefi:
        system.set("firmware", "efi")
    if place.virt_type == "test":
        return
    if hardware.secure_boot:
        add(system, "loader", {"secure": "yes"})
        firmware = add(system, "firmware")
        for name in ("secure-boot", "enrolled-keys"):
            add(firmware, "feature", {"enabled": "yes", "name": name})
    if hardware.uefi and place.variables is not None:
        # libvirt makes the file, of what its firmware begins with.
        add(system, "nvram", text=place.variables)
    add(system, "boot", {"dev": "hd"})
    if hardware.boot_menu:
        add(system, "bootmenu", {"enable": "yes"})
    if x86:
        add(system, "smbios", {"mode": "sysinfo"})


def add_sysinfo(domain: ET.Element, instance: Instance, place: Place) -> None:
    """Add what a guest reads of itself in the tables of its firmware."""
    if place.arch not in X86:
        return
    system = add(add(domain, "sysinfo", {"type": "smbios"}), "system")
    for name, value in (
        ("manufacturer", "kilonova"),
        ("product", _PRODUCT),
        ("serial", instance.uuid),
        ("uuid", instance.uuid),
        ("family", "Virtual Machine"),
    ):
        add(system, "entry", {"name": name}, value)


def add_features(domain: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add what the machine can do, and how its clock goes."""
    features = add(domain, "features")
    add(features, "acpi")
    add(features, "apic")
    if hardware.windows and place.virt_type == "kvm":
        hyperv = add(features, "hyperv")
        for name in ("relaxed", "vapic", "vpindex", "synic"):
            add(hyperv, name, {"state": "on"})
        add(hyperv, "spinlocks", {"state": "on", "retries": "8191"})
    if hardware.hide_hypervisor and place.virt_type == "kvm":
        add(add(features, "kvm"), "hidden", {"state": "on"})
    if hardware.pmu is not None:
        add(features, "pmu", {"state": "on" if hardware.pmu else "off"})
    if hardware.secure_boot:
        add(features, "smm", {"state": "on"})
    clock = add(domain, "clock", {"offset": "localtime" if hardware.windows else "utc"})
    if place.arch in X86:
        add(clock, "timer", {"name": "pit", "tickpolicy": "delay"})
        add(clock, "timer", {"name": "rtc", "tickpolicy": "catchup"})
        add(clock, "timer", {"name": "hpet", "present": "no"})
        if hardware.windows and place.virt_type == "kvm":
            add(clock, "timer", {"name": "hypervclock", "present": "yes"})


def add_endings(domain: ET.Element) -> None:
    """Add what becomes of a guest that ends."""
    add(domain, "on_poweroff", text="destroy")
    add(domain, "on_reboot", text="restart")
    add(domain, "on_crash", text="destroy")
