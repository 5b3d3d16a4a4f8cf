"""A guest's processors: how many, of which kind, where they run, and how much of the host's they get."""

from xml.etree import ElementTree as ET

from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.elements.tree import add
from kilonova.core.flavor import Flavor
from kilonova.core.hardware import CpuTopology, Hardware

EMULATED = "Nehalem"
"""Of what can be emulated, the oldest that today's distributions run on (x86-64-v2)."""


def add_vcpus(domain: ET.Element, flavor: Flavor, place: Place) -> None:
    """Add the number of VCPUs, and where those run that are not pinned."""
    shared = frozenset[int]() if place.pins is None else place.pins.shared
    where = {"placement": "static", "cpuset": cpu_list(shared)} if shared else {}
    add(domain, "vcpu", where, str(flavor.vcpus))


def add_tuning(domain: ET.Element, place: Place, hardware: Hardware) -> None:
    """Add the shares of the host's processors, and which of them the VCPUs run on."""
    limits = hardware.limits.cpu
    pins = place.pins if place.pins is not None and place.pins.cpus else None
    if not limits and pins is None:
        return
    tuning = add(domain, "cputune")
    for name in ("shares", "period", "quota"):
        if name in limits:
            add(tuning, name, text=str(limits[name]))
    if pins is None:
        return
    for vcpu, cpu in sorted(pins.cpus.items()):
        add(tuning, "vcpupin", {"vcpu": str(vcpu), "cpuset": str(cpu)})
    own = pins.emulator or frozenset(pins.cpus.values())
    add(tuning, "emulatorpin", {"cpuset": cpu_list(own)})


def cpu_list(cpus: frozenset[int]) -> str:
    """Return numbers as libvirt lists them."""
    return ",".join(str(cpu) for cpu in sorted(cpus))


def add_cpu(domain: ET.Element, place: Place, flavor: Flavor, hardware: Hardware) -> None:
    """Add the kind of the processors, their arrangement, and the NUMA cells that they are in."""
    if place.virt_type == "kvm":
        cpu = add(domain, "cpu", {"mode": "host-model"})
    elif place.arch == "x86_64":
        cpu = add(domain, "cpu", {"mode": "custom", "match": "exact", "check": "none"})
        add(cpu, "model", {"fallback": "allow"}, EMULATED)
    else:
        cpu = add(domain, "cpu", {"mode": "maximum"})
    topology = hardware.topology
    if topology is None:
        topology = CpuTopology(sockets=flavor.vcpus, cores=1, threads=1)
    arrangement = {
        "sockets": topology.sockets,
        "cores": topology.cores,
        "threads": topology.threads,
    }
    add(cpu, "topology", {name: str(number) for name, number in arrangement.items()})
    if hardware.cells is not None:
        numa = add(cpu, "numa")
        for number, cell in enumerate(hardware.cells.cells):
            what = {"id": str(number), "cpus": cpu_list(cell.cpus)}
            add(numa, "cell", what | {"memory": str(cell.memory_mb), "unit": "MiB"})
