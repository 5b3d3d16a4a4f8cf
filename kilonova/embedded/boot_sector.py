"""The smallest image that boots: one sector that writes its line on the serial port and then idles.

For machines where no Linux guest can be built, and for finding out whether KVM really runs guests. Pure.
"""

LINE = "kilonova-guest: BOOT-OK from the boot sector\r\n"

_CODE = bytes.fromhex(
    "fa"  # cli
    "31c0 8ed8"  # xor ax, ax; mov ds, ax
    "be237c fc"  # mov si, text; cld
    "ac 84c0 7412"  # next: lodsb; test al, al; jz idle
    "88c3"  # mov bl, al
    "bafd03 ec a820 74f8"  # wait: mov dx, 0x3fd; in al, dx; test al, 0x20; jz wait
    "88d8 baf803 ee"  # mov al, bl; mov dx, 0x3f8; out dx, al
    "ebe9"  # jmp next
    "f4 ebfd"  # idle: hlt; jmp idle
)
_ORIGIN = 0x7C00


def boot_sector(line: str = LINE) -> bytes:
    """Return the 512 bytes of the sector. ``line`` is at most 400 ASCII characters."""
    text = line.encode("ascii") + b"\0"
    if len(text) > 400:
        raise ValueError("the line is too long for one sector")
    sector = _CODE + text
    return sector + b"\0" * (510 - len(sector)) + b"\x55\xaa"


def disk_image(mebibytes: int = 1) -> bytes:
    """Return a raw disk image that boots the sector."""
    return boot_sector().ljust(mebibytes << 20, b"\0")
