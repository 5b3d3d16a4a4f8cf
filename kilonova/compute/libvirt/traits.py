"""What a host can do beyond having room, as Placement's traits: of what its libvirt tells, and of what this
service does with any libvirt of its kind. Pure.

Names: os-traits. Source of the elements: libvirt's "Domain capabilities XML format".
"""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from kilonova.core.share import MEMORY_FILE, VIRTIO_FS

ANY = ("COMPUTE_NODE", "COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW")
"""What every host of libvirt's has."""
_OURS = (
    "COMPUTE_DEVICE_TAGGING",
    "COMPUTE_MIGRATE_AUTO_CONVERGE",
    "COMPUTE_NET_ATTACH_INTERFACE",
    "COMPUTE_NET_ATTACH_INTERFACE_WITH_TAG",
    "COMPUTE_VOLUME_ATTACH_WITH_TAG",
    "COMPUTE_VOLUME_EXTEND",
    "COMPUTE_VOLUME_MULTI_ATTACH",
)
"""What this service does with QEMU, wherever it is."""
_CARDS = ("VIRTIO", "E1000", "E1000E", "NE2K_PCI", "PCNET", "RTL8139", "VMXNET3")
_BUSES = ("IDE", "SATA", "SCSI", "USB", "VIRTIO")
_VIDEOS = ("BOCHS", "CIRRUS", "NONE", "QXL", "VGA", "VIRTIO", "VMVGA")
_ARCHITECTURES = {
    "x86_64": "X86_64",
    "aarch64": "AARCH64",
    "ppc64le": "PPC64LE",
    "s390x": "S390X",
    "riscv64": "RISCV64",
}
_CPU = "HW_CPU_X86_"
_SAME = (
    "3dnow", "abm", "avx", "avx2", "avx512bw", "avx512cd", "avx512dq", "avx512er", "avx512f",
    "avx512ifma", "avx512pf", "avx512vbmi", "avx512vbmi2", "avx512vl", "avx512vnni", "bmi2", "f16c", "fma4",
    "mmx", "mpx", "pdpe1gb", "sgx", "sse", "sse2", "sse4a", "ssse3", "stibp", "tbm", "xop",
)  # fmt: skip
_FEATURES: dict[str, tuple[str, ...]] = {name: (name.upper(),) for name in _SAME} | {
    "aes": ("AESNI",),
    "amx-bf16": ("AMXBF16",),
    "amx-int8": ("AMXINT8",),
    "amx-tile": ("AMXTILE",),
    "avx512-bitalg": ("AVX512BITALG",),
    "avx512-vpopcntdq": ("AVX512VPOPCNTDQ",),
    "bmi1": ("BMI",),
    "fma": ("FMA3",),
    "gfni": ("AVX512GFNI",),
    "hle": ("TSX",),
    "md-clear": ("INTEL_MD_CLEAR",),
    "pcid": ("INTEL_PCID",),
    "pclmuldq": ("CLMUL",),
    "pni": ("SSE3",),
    "rtm": ("TSX",),
    "sha-ni": ("SHA",),
    "spec-ctrl": ("INTEL_SPEC_CTRL",),
    "ssbd": ("INTEL_SSBD",),
    "amd-ssbd": ("AMD_SSBD",),
    "virt-ssbd": ("AMD_VIRT_SSBD",),
    "ibpb": ("AMD_IBPB",),
    "sse4.1": ("SSE41",),
    "sse4.2": ("SSE42",),
    "svm": ("SVM", "AMD_SVM"),
    "vaes": ("AVX512VAES",),
    "vmx": ("VMX", "INTEL_VMX"),
    "vpclmulqdq": ("AVX512VPCLMULQDQ",),
}
"""Feature of a processor, as libvirt calls it -> the ends of its traits."""


def traits_of(capabilities: Sequence[str], cpu: str | None) -> tuple[str, ...]:
    """Return the traits of a host of QEMU, in order.

    ``capabilities`` are libvirt's of the machines that guests get, ``cpu`` is the processor that they get
    with all of its features, None where that is not known.
    """
    found = {*ANY, *_OURS, *(f"COMPUTE_NET_VIF_MODEL_{card}" for card in _CARDS)}
    for text in capabilities:
        found.update(_of_machine(ET.fromstring(text)))  # noqa: S314 - libvirt's own
    if cpu is not None:
        for feature in ET.fromstring(cpu).iterfind("feature"):  # noqa: S314 - libvirt's own
            if feature.get("policy") not in ("disable", "forbid"):
                found.update(_CPU + end for end in _FEATURES.get(feature.get("name", ""), ()))
    return tuple(sorted(found))


def host_model(capabilities: str) -> str | None:
    """Return the processor that guests get that have the host's, None where there is none."""
    root = ET.fromstring(capabilities)  # noqa: S314 - libvirt's own
    model = root.find("cpu/mode[@name='host-model'][@supported='yes']")
    if model is None:
        return None
    cpu = ET.Element("cpu", mode="custom", match="exact")
    cpu.extend(model)
    return ET.tostring(cpu, encoding="unicode")


def _of_machine(root: ET.Element) -> Iterator[str]:
    arch = _ARCHITECTURES.get(root.findtext("arch") or "")
    if arch is not None:
        yield f"COMPUTE_ARCH_{arch}"
    if arch == "X86_64":
        yield "COMPUTE_FIRMWARE_BIOS"
    if "EFI" in _values(root, "os", "firmware"):
        yield "COMPUTE_FIRMWARE_UEFI"
        if "YES" in _values(root, "os/loader", "secure"):
            yield "COMPUTE_SECURITY_UEFI_SECURE_BOOT"
    for bus in _values(root, "devices/disk", "bus"):
        if bus in _BUSES:
            yield f"COMPUTE_STORAGE_BUS_{bus}"
    for model in _values(root, "devices/video", "modelType"):
        if model in _VIDEOS:
            yield f"COMPUTE_GRAPHICS_MODEL_{model}"
    if "MEMFD" in _values(root, "memoryBacking", "sourceType"):
        yield MEMORY_FILE
        if "VIRTIOFS" in _values(root, "devices/filesystem", "driverType"):
            yield VIRTIO_FS
    if "EMULATOR" in _values(root, "devices/tpm", "backendModel"):
        for version in _values(root, "devices/tpm", "backendVersion"):
            yield f"COMPUTE_SECURITY_TPM_{version.replace('.', '_')}"


def _values(root: ET.Element, parent: str, name: str) -> list[str]:
    """Return what an enumeration of the capabilities lists, in capitals."""
    found = root.iterfind(f"{parent}[@supported='yes']/enum[@name='{name}']/value")
    return [(value.text or "").upper() for value in found]
