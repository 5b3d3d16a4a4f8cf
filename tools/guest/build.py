#!/usr/bin/env python3
"""Builds the small Linux guest that ``tools/up`` registers as an image, from Debian's packages alone.

    build.py OUT.qcow2

The packages are downloaded and unpacked, never installed. Needs apt-get, dpkg-deb, xz, syslinux, mtools,
mkfs.vfat and qemu-img; leaves nothing behind but OUT. Ends with 1 and the reason if it cannot be built.
"""

import gzip
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

KERNEL = "linux-image-cloud-amd64"
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_balloon", "virtio-rng", "isofs", "ext4", "button",
    "evdev", "vfat", "nls_cp437", "nls_ascii", "virtiofs",
)  # fmt: skip
DISK_MB = 40
APPEND = "console=ttyS0 quiet rdinit=/init"


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return what it prints; raises SystemExit with its error."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def unpack(package: str, into: Path) -> None:
    """Download a package and unpack its files."""
    with tempfile.TemporaryDirectory() as scratch:
        run(
            "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=Path(scratch)
        )
        for archive in Path(scratch).glob("*.deb"):
            run("dpkg-deb", "-x", str(archive), str(into))


def module_file(root: Path, name: str) -> Path | None:
    """Return the file of a kernel module, whose name may be spelled with - or _."""
    wanted = re.compile(re.sub("[-_]", "[-_]", name) + r"\.ko(\.xz)?$")
    return next((p for p in sorted(root.rglob("*.ko*")) if wanted.match(p.name)), None)


def add_module(root: Path, name: str, modules: dict[str, bytes]) -> None:
    """Add a module behind those that it depends on. One that is built in is left out."""
    file = module_file(root, name)
    if file is None or f"{name}.ko" in modules:
        return
    data = file.read_bytes()
    data = lzma.decompress(data) if file.suffix == ".xz" else data
    depends = re.search(rb"\0depends=([^\0]*)\0", data)
    for needed in (depends[1].decode() if depends else "").split(","):
        if needed:
            add_module(root, needed, modules)
    modules[f"{name}.ko"] = data


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """Return a cpio archive (newc) of (path, mode, data) entries."""
    archive = bytearray()
    for number, (path, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def initramfs(root: Path) -> bytes:
    """Return the compressed initramfs: busybox, the modules in their order, and ``init``."""
    modules: dict[str, bytes] = {}
    for name in MODULES:
        add_module(root / "lib/modules", name, modules)
    busybox = next(
        path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists()
    )
    order = "".join(f"{name}\n" for name in modules).encode()
    entries = [(name, 0o040755, b"") for name in ("bin", "modules", "dev")]
    entries += [
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("bin/sh", 0o120777, b"busybox"),
        ("init", 0o100755, Path(__file__).with_name("init").read_bytes()),
        ("modules/order", 0o100644, order),
    ]
    entries += [(f"modules/{name}", 0o100644, data) for name, data in modules.items()]
    return gzip.compress(cpio(entries), mtime=0)


def main() -> None:
    """Build the image."""
    out = Path(sys.argv[1]).absolute()
    for tool in ("apt-get", "dpkg-deb", "syslinux", "mcopy", "mkfs.vfat", "qemu-img"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        depends = run("apt-cache", "depends", KERNEL)
        kernel = re.search(r"Depends: (linux-image-\S+)", depends)
        if kernel is None:
            sys.exit(f"apt knows no {KERNEL}; apt-get update may help")
        for package in (kernel[1], "busybox-static"):
            unpack(package, work / "root")
        version = kernel[1].removeprefix("linux-image-")
        disk = work / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(DISK_MB << 20)
        (work / "initrd.gz").write_bytes(initramfs(work / "root"))
        (work / "syslinux.cfg").write_text(
            f"DEFAULT guest\nPROMPT 0\nTIMEOUT 0\nLABEL guest\n KERNEL vmlinuz\n INITRD initrd.gz\n"
            f" APPEND {APPEND}\n"
        )
        run("mkfs.vfat", "-n", "KILONOVA", str(disk))
        run("syslinux", "--install", str(disk))
        boot = work / f"root/boot/vmlinuz-{version}"
        for source, name in (
            (boot, "vmlinuz"),
            (work / "initrd.gz", "initrd.gz"),
            (work / "syslinux.cfg", "syslinux.cfg"),
        ):
            run("mcopy", "-i", str(disk), str(source), f"::{name}")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".part")
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(partial))
        os.replace(partial, out)


if __name__ == "__main__":
    main()
