"""Guests of one boot sector: each says its line on the serial port, and then behaves as a test needs it.

They run on QEMU's ``pc`` machine, whose power management SeaBIOS puts at port 0x600. The machine code was
assembled once; its source stands beside it.
"""

LINE = "a guest of one sector\r\n"

_ORIGIN = 0x7C00
_SECTOR = 512

_SAY = (
    "31c0 8ed8 8ed0 bc007c"  # xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00
    "be{text} fc"  # mov si, text; cld
    "ac 84c0 7412"  # next: lodsb; test al, al; jz done
    "88c3"  # mov bl, al
    "bafd03 ec a820 74f8"  # wait: mov dx, 0x3fd; in al, dx; test al, 0x20; jz wait
    "88d8 baf803 ee"  # mov al, bl; mov dx, 0x3f8; out dx, al
    "ebe9"  # jmp next
)
_OFF = "ba0406 b80020 ef ebf7"  # off: mov dx, 0x604; mov ax, 0x2000; out dx, ax; jmp off

_DEAF = (
    "fa"  # cli
    "f4 ebfd"  # idle: hlt; jmp idle
)
_POLITE = (
    "fb"  # sti
    "ba0206 b80001 ef"  # mov dx, 0x602; mov ax, 0x100; out dx, ax
    "f4 ba0006 ed f6c401 74f6"  # look: hlt; mov dx, 0x600; in ax, dx; test ah, 1; jz look
) + _OFF
_BRIEF = (
    "fb"  # sti
    "b91200"  # mov cx, 18: of 18.2 ticks a second
    "f4 e2fd"  # tick: hlt; loop tick
) + _OFF

_COUNT = (
    "31c0 8ed8 8ed0 bc007c fb"  # xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00; sti
    "88166b7c b442 e82f00"  # mov [drive], dl; mov ah, 0x42; call disk
    "8b1e007e b90400"  # next: mov bx, [0x7e00]; mov cx, 4
    "c1c304 88d8 240f 3c0a 1c69 2f"  # digit: the next of bx, as a character in al
    "e82300 e2ef"  # call put; loop digit
    "b00d e81c00 b00a e81700"  # mov al, 13; call put; mov al, 10; call put
    "ff06007e b80043 e80300"  # inc word [0x7e00]; mov ax, 0x4300; call disk
    "f4 ebd1"  # hlt; jmp next
    "be5b7c 8a166b7c cd13 c3"  # disk: mov si, packet; mov dl, [drive]; int 0x13; ret
    "50 bafd03 ec a820 74fb 58 baf803 ee c3"  # put: push ax; wait for the port; pop ax; out 0x3f8, al; ret
    "1000 0100 007e 0000 0100000000000000"  # packet: one sector at 0x7e00, the second of the disk
)
_HALTS, _NEXT, _WRITES = "f4ebd1", 0x13, 0x70
"""The end of a count, the beginning of the next, and where there is room behind what counts."""
_WRITE = (
    "f4 fa 0f0116a17c"  # hlt; cli; lgdt [table]
    "0f20c0 0c01 0f22c0 bb0800 8ec3"  # mov eax, cr0; or al, 1; mov cr0, eax; mov bx, 8; mov es, bx
    "24fe 0f22c0 fb"  # and al, 0xfe; mov cr0, eax; sti: es reaches all of the memory now
    "66bf00001000 66b900000800"  # mov edi, 0x100000; mov ecx, 0x80000
    "66a1007e f36766ab"  # mov eax, [0x7e00]; rep stosd
)
_TABLE = (
    "1700 a77c0000"  # table: three descriptors
    "0000000000000000 ffff000000 92 cf 00 0000000000000000"  # none; data, all of it; none
)


def counting(*, writing: bool = False) -> bytes:
    """Return a disk whose guest counts: each number is a line of four hexadecimal digits, said at every
    tick of its clock, and kept in the disk's second sector, from which it goes on after a start.

    One that is ``writing`` fills two MiB of its memory anew with each number.
    """
    code = bytes.fromhex(_COUNT)
    if writing:
        at = code.index(bytes.fromhex(_HALTS))
        part = bytes.fromhex(_WRITE)
        part += _jump(_WRITES + len(part), _NEXT) + bytes.fromhex(_TABLE)
        code = code[:at] + _jump(at, _WRITES) + code[at + 3 :].ljust(_WRITES - at - 3, b"\0") + part
    code = code.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"
    return code.ljust(1 << 20, b"\0")


def _jump(at: int, to: int) -> bytes:
    """Return a jump, of three bytes."""
    return b"\xe9" + ((to - at - 3) & 0xFFFF).to_bytes(2, "little")


def deaf() -> bytes:
    """Return a disk whose guest heeds no power button."""
    return _disk(_DEAF)


def polite() -> bytes:
    """Return a disk whose guest powers off when the power button is pressed."""
    return _disk(_POLITE)


def brief() -> bytes:
    """Return a disk whose guest powers off by itself after a second."""
    return _disk(_BRIEF)


def _disk(ending: str) -> bytes:
    size = len(bytes.fromhex((_SAY + ending).format(text="0000")))
    text = (_ORIGIN + size).to_bytes(2, "little").hex()
    code = bytes.fromhex((_SAY + ending).format(text=text))
    sector = (code + LINE.encode() + b"\0").ljust(510, b"\0") + b"\x55\xaa"
    return sector.ljust(1 << 20, b"\0")
