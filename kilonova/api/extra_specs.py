"""Flavor extra specs: which names exist in the namespaces that are known, and what each may say.

Since microversion 2.86 a misspelt name or value is refused when it is written, not when a server fails
to build. Namespaces that are not known here are an operator's own and pass.
"""

import re
from collections.abc import Callable, Mapping

import os_resource_classes
import os_traits

from kilonova.core.errors import Invalid

Check = Callable[[str], str | None]
"""Given a value, says what it should be instead, or None if it is right."""

_TRUE_OR_FALSE = frozenset(
    {"1", "0", "t", "f", "true", "false", "on", "off", "y", "n", "yes", "no"}
)
_CPUS = r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*"
_GROUP = "([a-zA-Z0-9_-]{1,64})?"


def _anything(_value: str) -> str | None:
    return None


def _boolean(value: str) -> str | None:
    return None if value.strip().lower() in _TRUE_OR_FALSE else "a boolean"


def _whole(low: int | None = None, high: int | None = None) -> Check:
    def check(value: str) -> str | None:
        try:
            number = int(value)
        except ValueError:
            return "a whole number"
        if low is not None and number < low:
            return f"at least {low}"
        if high is not None and number > high:
            return f"at most {high}"
        return None

    return check


def _one_of(*words: str) -> Check:
    return lambda value: None if value in words else "one of: " + ", ".join(words)


def _like(pattern: str) -> Check:
    matches = re.compile(pattern).fullmatch
    return lambda value: None if matches(value) else f"of the form {pattern}"


_NAMES: dict[str, Check] = {
    "accel:device_profile": _anything,
    "aggregate_instance_extra_specs:.+": _anything,
    r"capabilities:\w[\w.:-]*": _anything,
    "group_policy": _one_of("isolate", "none"),
    "hide_hypervisor_id": _boolean,
    "hw:boot_menu": _boolean,
    "hw:cpu_(cores|sockets|threads)": _whole(1),
    "hw:cpu_max_(cores|sockets|threads)": _whole(1),
    "hw:cpu_dedicated_mask": _like(_CPUS),
    "hw:cpu_policy": _one_of("dedicated", "shared", "mixed"),
    "hw:cpu_realtime": _boolean,
    "hw:cpu_realtime_mask": _like(_CPUS),
    "hw:cpu_thread_policy": _one_of("prefer", "isolate", "require"),
    "hw:emulator_threads_policy": _one_of("isolate", "share"),
    "hw:ephemeral_encryption": _boolean,
    "hw:ephemeral_encryption_format": _one_of("plain", "luks", "luksv2"),
    "hw:hide_hypervisor_id": _boolean,
    "hw:locked_memory": _boolean,
    "hw:maxphysaddr_bits": _whole(0),
    "hw:maxphysaddr_mode": _one_of("emulate", "passthrough"),
    "hw:mem_encryption": _boolean,
    "hw:mem_encryption_model": _one_of("amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"),
    "hw:mem_page_size": _like(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)"),
    r"hw:numa_cpus\.\d+": _like(_CPUS),
    r"hw:numa_mem\.\d+": _whole(1),
    "hw:numa_nodes": _whole(1),
    "hw:pci_numa_affinity_policy": _one_of("required", "preferred", "legacy", "socket"),
    "hw:pmem": _like("([a-zA-Z0-9_]+,?)+"),
    "hw:pmu": _boolean,
    "hw:redirected_usb_ports": _whole(0, 15),
    "hw:serial_port_count": _whole(0),
    "hw:sound_model": _one_of("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
    "hw:tpm_model": _one_of("tpm-tis", "tpm-crb"),
    "hw:tpm_secret_security": _one_of("user", "host", "deployment"),
    "hw:tpm_version": _one_of("1.2", "2.0"),
    "hw:usb_model": _one_of("none", "nec-xhci", "qemu-xhci"),
    "hw:vif_multiqueue_enabled": _boolean,
    "hw:viommu_model": _one_of("intel", "smmuv3", "virtio", "auto"),
    "hw:virtio_packed_ring": _boolean,
    "hw:watchdog_action": _one_of("none", "pause", "poweroff", "reset", "disabled"),
    "hw_rng:allowed": _boolean,
    "hw_rng:rate_(bytes|period)": _whole(0),
    "hw_video:ram_max_mb": _whole(0),
    "os:secure_boot": _one_of("disabled", "required"),
    "pci_passthrough:alias": _like(r"[^:]+:\d+(\s*,\s*[^:]+:\d+)*"),
    "quota:cpu_(shares|period)": _whole(0),
    "quota:cpu_quota": _whole(),
    "quota:(cpu|memory|disk_io|vif)_(limit|shares_share)": _whole(0),
    "quota:(cpu|memory|disk_io|vif)_reservation": _whole(),
    "quota:(cpu|memory|disk_io|vif)_shares_level": _one_of("custom", "high", "normal", "low"),
    "quota:disk_(read|write|total)_(bytes|iops)_sec": _whole(0),
    "quota:vif_(inbound|outbound)_(average|peak|burst)": _whole(0),
    f"resources{_GROUP}:CUSTOM_[A-Z0-9_]+": _whole(),
    f"trait{_GROUP}:CUSTOM_[A-Z0-9_]+": _one_of("required", "forbidden"),
    "vmware:(hw_version|storage_policy)": _anything,
}
"""Pattern of a name -> what checks its value. Standard classes and traits are in ``_check_of``."""

_TRAITS = frozenset(os_traits.get_traits())
_PATTERNS = tuple((re.compile(name), check) for name, check in _NAMES.items())
_STANDARD = re.compile(f"(resources|trait){_GROUP}:([A-Z0-9_]+)")
_NAMESPACE = re.compile(
    f"(accel|aggregate_instance_extra_specs|capabilities|hw|hw_rng|hw_video|os|pci_passthrough|quota"
    f"|resources{_GROUP}|trait{_GROUP}|vmware)"
)


def check(specs: Mapping[str, str]) -> None:
    """Check names and values.

    Raises:
        Invalid: naming the extra spec that is wrong, and what it should be.
    """
    for name, value in specs.items():
        found = _check_of(name)
        if found is None:
            if _NAMESPACE.fullmatch(name.partition(":")[0]) and ":" in name:
                raise Invalid(f"Validation failed; extra spec '{name}' is not known.")
        elif wanted := found(value):
            raise Invalid(f"Validation failed; extra spec '{name}' is '{value}', not {wanted}.")


def _check_of(name: str) -> Check | None:
    for pattern, found in _PATTERNS:
        if pattern.fullmatch(name):
            return found
    if standard := _STANDARD.fullmatch(name):
        kind, what = standard[1], standard[3]
        if kind == "resources" and what in os_resource_classes.STANDARDS:
            return _whole()
        if kind == "trait" and what in _TRAITS:
            return _one_of("required", "forbidden")
    return None
