"""A disk from which UEFI starts a program that says its line and then waits: a few bytes of machine code.

Layout: "PE Format" (Microsoft), and the UEFI specification, chapters 2 and 4.
"""

import struct
import subprocess
import tempfile
from pathlib import Path

LINE = "a guest of one program"

_MEBIBYTES = 34
"""The least that can be FAT32."""
_CODE = bytes.fromhex(
    "4883ec28"  # sub rsp, 0x28
    "488b4a40"  # mov rcx, [rdx + 0x40]: the system table's ConOut
    "488d1506000000"  # lea rdx, [rip + 6]: the text
    "ff5108"  # call [rcx + 8]: OutputString
    "f4 ebfd"  # idle: hlt; jmp idle
)
_PAGE, _BLOCK = 0x1000, 0x200


def _program() -> bytes:
    """Return a PE32+ file of one section."""
    text = (LINE + "\r\n\0").encode("utf-16-le")
    code = (_CODE + text).ljust(_BLOCK, b"\0")
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, _BLOCK, 0, 0, _PAGE, _PAGE)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0, _PAGE, _BLOCK, 0, 0, 0, 0, 0, 0, 0, 2 * _PAGE,
                            _BLOCK, 0, 10, 0)  # fmt: skip
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(16 * 8)
    section = struct.pack("<8sIIIIIIHHI", b".text", len(code), _PAGE, _BLOCK, _BLOCK, 0, 0, 0, 0,
                          0x60000020)  # fmt: skip
    head = dos + b"PE\0\0" + coff + optional + section
    return head.ljust(_BLOCK, b"\0") + code


def disk() -> bytes:
    """Return a disk with the program where firmware looks for one."""
    with tempfile.TemporaryDirectory() as scratch:
        path, program = Path(scratch) / "disk", Path(scratch) / "program"
        program.write_bytes(_program())
        with path.open("wb") as file:
            file.truncate(_MEBIBYTES << 20)
        for command in (
            ("mformat", "-i", str(path), "-F", "::"),
            ("mmd", "-i", str(path), "::/EFI", "::/EFI/BOOT"),
            ("mcopy", "-i", str(path), str(program), "::/EFI/BOOT/BOOTX64.EFI"),
        ):
            subprocess.run(command, check=True, capture_output=True)
        return path.read_bytes()
