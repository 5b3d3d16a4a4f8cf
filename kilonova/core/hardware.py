"""The hardware of a guest, as its flavor and its image ask for it: checked and typed. Pure.

The API refuses with it what no host could make; a host makes with it what the domain XML says. Names and
words: Compute documentation, "Extra specs"; Image documentation, "Useful image properties".
"""

from math import isqrt

import msgspec

from kilonova.core.asked import Asked, Malformed, one_of, truth, whole
from kilonova.core.flavor import Flavor
from kilonova.core.guest_cells import CellsOfGuest, cells_of
from kilonova.core.image import Image

_NEVER = ("mem_encryption", "cpu_realtime", "pmem", "ephemeral_encryption")
"""What is known, and cannot be had of any host."""
_NO = ("", "0", "f", "false", "off", "n", "no")

DISK_BUSES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd", "usb": "sd"}
"""The buses of disks, and what the names of disks on them begin with."""
_NICS = ("virtio", "e1000", "e1000e", "ne2k_pci", "pcnet", "rtl8139", "vmxnet3")
_VIDEOS = ("vga", "cirrus", "vmvga", "xen", "qxl", "virtio", "gop", "none", "bochs")
_SCSIS = (
    "virtio-scsi", "lsilogic", "lsisas1068", "lsisas1078", "vmpvscsi", "buslogic", "auto",
    "ibmvscsi",
)  # fmt: skip
_SOUNDS = ("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb")
_WATCHDOGS = ("none", "pause", "poweroff", "reset", "disabled")
_MACHINE_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MOST = 2**31 - 1


class CpuTopology(msgspec.Struct, frozen=True, kw_only=True):
    """How VCPUs are arranged; their product is the number of VCPUs."""

    sockets: int
    cores: int
    threads: int


class Tpm(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted platform module: ``version`` 1.2 or 2.0, ``model`` tpm-tis or tpm-crb."""

    version: str
    model: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What ``quota:*`` sets. CPU times are microseconds, disk rates bytes or operations a second, network
    rates KiB a second and bursts KiB. Empty where nothing is limited."""

    cpu: dict[str, int] = {}
    disk: dict[str, int] = {}
    inbound: dict[str, int] = {}
    outbound: dict[str, int] = {}


class Rng(msgspec.Struct, frozen=True, kw_only=True):
    """A source of entropy: ``rate`` bytes in each ``period`` milliseconds, or as many as it gives."""

    rate: int = 0
    period: int = 1000


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``machine`` is None for the host's usual one; ``video_mb`` 0 for the usual memory."""

    machine: str | None = None
    uefi: bool = False
    secure_boot: bool = False
    boot_menu: bool = False
    windows: bool = False
    topology: CpuTopology | None = None
    cells: CellsOfGuest | None = None
    pmu: bool | None = None
    hide_hypervisor: bool = False
    locked_memory: bool = False
    limits: Limits = Limits()
    disk_bus: str = "virtio"
    scsi_model: str = "virtio-scsi"
    nic_model: str = "virtio"
    nic_queues: int = 1
    video: str | None = None
    video_mb: int = 0
    rng: Rng | None = Rng()
    watchdog: str | None = None
    tpm: Tpm | None = None
    guest_agent: bool = False
    serial_ports: int = 1
    tablet: bool = False
    sound: str | None = None


def hardware_of(flavor: Flavor, image: Image | None) -> Hardware:
    """Return what a flavor and an image ask for.

    Raises:
        Malformed: a value means nothing, contradicts another, or cannot be had here.
    """
    asked = Asked(flavor, image)
    for name in _NEVER:
        if (asked.get(name) or "").strip().lower() not in _NO:
            raise Malformed(f"hw:{name} cannot be had here")
    uefi, secure = _firmware(asked)
    machine = _machine(asked)
    if secure and machine is None:
        # Only this machine protects the firmware's memory from the guest.
        machine = "q35"
    bus = _disk_bus(asked, machine)
    model = asked.choice("vif_model", _NICS) or "virtio"
    queues = asked.flag("vif_multiqueue_enabled") and model == "virtio"
    video, video_mb = _video(asked)
    return Hardware(
        machine=machine,
        uefi=uefi,
        secure_boot=secure,
        boot_menu=asked.flag("boot_menu"),
        windows=asked.property("os_type") == "windows",
        topology=_topology(asked, flavor.vcpus),
        cells=cells_of(asked, flavor.vcpus, flavor.memory_mb),
        pmu=asked.flag("pmu") if asked.get("pmu") else None,
        hide_hypervisor=asked.flag("hide_hypervisor_id")
        or truth("hide_hypervisor_id", asked.spec("hide_hypervisor_id"), default=False),
        locked_memory=asked.flag("locked_memory"),
        limits=_limits(asked),
        disk_bus=bus,
        scsi_model=asked.choice("scsi_model", _SCSIS) or "virtio-scsi",
        nic_model=model,
        nic_queues=flavor.vcpus if queues else 1,
        video=video,
        video_mb=video_mb,
        rng=_rng(asked),
        watchdog=_watchdog(asked),
        tpm=_tpm(asked),
        guest_agent=asked.flag("qemu_guest_agent"),
        serial_ports=_at_most("hw:serial_port_count", asked.number("serial_port_count", 0), 4, 1),
        tablet=asked.choice("pointer_model", ("usbtablet",)) is not None
        or asked.choice("input_bus", ("usb", "virtio")) is not None,
        sound=asked.choice("sound_model", _SOUNDS),
    )


def root_device(flavor: Flavor, image: Image | None) -> str:
    """Return the name that a guest's root disk goes by."""
    bus = Asked(flavor, image).get("disk_bus") or "virtio"
    return f"/dev/{DISK_BUSES.get(bus, 'vd')}a"


def has_tpm(flavor: Flavor, image: Image | None) -> bool:
    """Whether a guest has a TPM, which remembers on its host alone what its disk cannot be read without."""
    return Asked(flavor, image).get("tpm_version") is not None


def _at_most(name: str, number: int | None, most: int, usual: int) -> int:
    if number is not None and number > most:
        raise Malformed(f"{name} is {number}, and at most {most} can be had")
    return usual if number is None else number


def _machine(asked: Asked) -> str | None:
    name = asked.get("machine_type")
    if name is not None and (len(name) > 64 or not _MACHINE_LETTERS.issuperset(name)):
        raise Malformed("hw:machine_type is no name of a machine")
    return name


def is_q35(machine: str | None) -> bool:
    """Whether a machine type is of the family with PCI Express, and without IDE."""
    return machine is not None and "q35" in machine


def _firmware(asked: Asked) -> tuple[bool, bool]:
    """Return whether it is UEFI, and whether it boots only what is signed."""
    kind = asked.choice("firmware_type", ("bios", "uefi"))
    wanted = asked.spec("os:secure_boot") or asked.property("os_secure_boot")
    secure = one_of("os:secure_boot", wanted, ("disabled", "optional", "required")) == "required"
    if secure and kind == "bios":
        raise Malformed("os:secure_boot is required, which hw_firmware_type bios cannot do")
    return kind == "uefi" or secure, secure


def _disk_bus(asked: Asked, machine: str | None) -> str:
    bus = asked.choice("disk_bus", DISK_BUSES) or "virtio"
    if bus == "ide" and is_q35(machine):
        raise Malformed(f"hw:disk_bus is ide, which the machine {machine} does not have")
    return bus


def _topology(asked: Asked, vcpus: int) -> CpuTopology | None:
    """Return the arrangement within all maxima that meets most preferences; of those, most sockets."""
    names = ("sockets", "cores", "threads")
    preferred = [asked.number(f"cpu_{name}") for name in names]
    most = [asked.number(f"cpu_max_{name}") for name in names]
    if not any(preferred) and not any(most):
        return None
    possible = [
        (sockets, cores, vcpus // sockets // cores)
        for sockets in _divisors(vcpus)
        for cores in _divisors(vcpus // sockets)
    ]
    possible = [
        one
        for one in possible
        if all(limit is None or number <= limit for number, limit in zip(one, most, strict=True))
    ]
    if not possible:
        raise Malformed(f"{vcpus} VCPUs do not fit into hw:cpu_max_sockets, _cores and _threads")

    def rank(one: tuple[int, int, int]) -> tuple[int, tuple[int, int, int]]:
        return sum(a == b for a, b in zip(one, preferred, strict=True)), one

    sockets, cores, threads = max(possible, key=rank)
    return CpuTopology(sockets=sockets, cores=cores, threads=threads)


def _divisors(number: int) -> list[int]:
    low = [n for n in range(1, isqrt(number) + 1) if not number % n]
    return sorted({*low, *(number // n for n in low)})


def _limits(asked: Asked) -> Limits:
    def read(names: tuple[str, ...], prefix: str, least: int = 0) -> dict[str, int]:
        found = {}
        for name in names:
            key = f"quota:{prefix}{name}"
            number = whole(key, asked.spec(key), least)
            if number is not None:
                if number > _MOST * 1000:
                    raise Malformed(f"{key} is too large")
                found[name] = number
        return found

    cpu = read(("shares", "period"), "cpu_") | read(("quota",), "cpu_", -1)
    _check_cpu(cpu)
    rates = tuple(
        f"{what}_{unit}_sec" for what in ("read", "write", "total") for unit in ("bytes", "iops")
    )
    disk = {name: number for name, number in read(rates, "disk_").items() if number}
    for unit in ("bytes", "iops"):
        if f"total_{unit}_sec" in disk and {f"read_{unit}_sec", f"write_{unit}_sec"} & set(disk):
            raise Malformed(f"quota:disk_total_{unit}_sec excludes that of reading and of writing")
    rate = ("average", "peak", "burst")
    inbound, outbound = read(rate, "vif_inbound_"), read(rate, "vif_outbound_")
    for what, found in (("inbound", inbound), ("outbound", outbound)):
        if found and not found.get("average"):
            raise Malformed(f"quota:vif_{what}_average is missing")
    return Limits(cpu=cpu, disk=disk, inbound=inbound, outbound=outbound)


def _check_cpu(cpu: dict[str, int]) -> None:
    """The ranges are the kernel's, through libvirt."""
    for name, least, most in (("shares", 2, 262144), ("period", 1000, 1000000)):
        if name in cpu and not least <= cpu[name] <= most:
            raise Malformed(f"quota:cpu_{name} is {cpu[name]}, not from {least} to {most}")
    if "quota" in cpu and 0 <= cpu["quota"] < 1000:
        raise Malformed(f"quota:cpu_quota is {cpu['quota']}, neither -1 nor at least 1000")


def _video(asked: Asked) -> tuple[str | None, int]:
    model = asked.choice("video_model", _VIDEOS)
    wanted = whole("hw_video_ram", asked.property("hw_video_ram"), 0) or 0
    most = whole("hw_video:ram_max_mb", asked.spec("hw_video:ram_max_mb"), 0) or 0
    if wanted > most:
        raise Malformed(f"hw_video_ram is {wanted}, and hw_video:ram_max_mb allows {most}")
    return model, wanted


def _rng(asked: Asked) -> Rng | None:
    if not truth("hw_rng:allowed", asked.spec("hw_rng:allowed"), default=True):
        return None
    rate = whole("hw_rng:rate_bytes", asked.spec("hw_rng:rate_bytes"), 0) or 0
    period = whole("hw_rng:rate_period", asked.spec("hw_rng:rate_period"), 0) or Rng().period
    return Rng(rate=_at_most("hw_rng:rate_bytes", rate, _MOST, 0), period=min(period, _MOST))


def _watchdog(asked: Asked) -> str | None:
    action = asked.choice("watchdog_action", _WATCHDOGS)
    return None if action == "disabled" else action


def _tpm(asked: Asked) -> Tpm | None:
    version = asked.choice("tpm_version", ("1.2", "2.0"))
    model = asked.choice("tpm_model", ("tpm-tis", "tpm-crb"))
    if version is None:
        if model is not None:
            raise Malformed("hw:tpm_model is without hw:tpm_version")
        return None
    if version == "1.2" and model == "tpm-crb":
        raise Malformed("hw:tpm_model is tpm-crb, which hw:tpm_version 1.2 does not have")
    return Tpm(version=version, model=model or "tpm-tis")
