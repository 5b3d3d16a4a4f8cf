"""The smallest image that boots, run by a processor of its few instructions."""

import testtools

from kilonova.embedded.boot_sector import LINE, boot_sector, disk_image

ORIGIN = 0x7C00
DATA_PORT, STATUS_PORT = 0x3F8, 0x3FD
SENDER_IS_EMPTY = 0x20


class Machine:
    """A processor of the instructions that the sector needs, and a serial port that is slow.

    ``run`` returns what was sent when the processor halts for good.
    """

    def __init__(self, sector: bytes) -> None:
        self._memory = bytes(ORIGIN) + sector
        self._ip = ORIGIN
        self._si = self._dx = self._al = self._bl = 0
        self._zero = False
        self._asked = 0
        self._ready = False
        self.sent = bytearray()
        self.interrupts = True

    def run(self) -> bytes:
        """Execute until a halt with interrupts off."""
        for _ in range(100_000):
            if not self._step():
                return bytes(self.sent)
        raise AssertionError("the sector never halts")

    def _fetch(self, size: int = 1) -> int:
        value = int.from_bytes(self._memory[self._ip : self._ip + size], "little")
        self._ip += size
        return value

    def _jump(self, taken: bool) -> None:
        offset = self._fetch()
        if taken:
            self._ip += offset - 256 if offset > 127 else offset

    def _step(self) -> bool:
        match self._fetch():
            case 0xFA | 0xFC as code:
                # cli; and cld, after which lodsb counts up, as it does here anyway.
                self.interrupts &= code != 0xFA
            case 0x31 | 0x8E | 0x84 | 0x88 as code:
                self._between_registers(code, self._fetch())
            case 0xBE:
                self._si = self._fetch(2)
            case 0xBA:
                self._dx = self._fetch(2)
            case 0xAC:
                self._al = self._memory[self._si]
                self._si += 1
            case 0xEC:
                self._al = self._read_port()
            case 0xEE:
                self._write_port()
            case 0xA8:
                self._zero = not self._al & self._fetch()
            case 0x74:
                self._jump(self._zero)
            case 0xEB:
                self._jump(True)
            case 0xF4:
                return self.interrupts
            case code:
                raise AssertionError(f"no instruction {code:#x} at {self._ip - 1:#x}")
        return True

    def _between_registers(self, code: int, operands: int) -> None:
        match code, operands:
            case 0x31, 0xC0:
                self._al = 0
            case 0x8E, 0xD8:
                assert self._al == 0, "the data segment is not that of the sector"
            case 0x84, 0xC0:
                self._zero = self._al == 0
            case 0x88, 0xC3:
                self._bl = self._al
            case 0x88, 0xD8:
                self._al = self._bl
            case _:
                raise AssertionError(f"no instruction {code:#x} {operands:#x}")

    def _read_port(self) -> int:
        assert self._dx == STATUS_PORT
        self._asked += 1
        self._ready = self._asked % 3 == 0
        return SENDER_IS_EMPTY if self._ready else 0

    def _write_port(self) -> None:
        assert self._dx == DATA_PORT
        assert self._ready, "the port was not ready for a byte"
        self._ready = False
        self.sent.append(self._al)


class BootSectorTest(testtools.TestCase):
    """What firmware loads to 0x7c00 and jumps to."""

    def test_the_sector_sends_its_line_on_the_serial_port_and_halts(self) -> None:
        self.assertEqual(LINE.encode(), Machine(boot_sector()).run())
        self.assertIn("BOOT-OK", LINE)

    def test_any_line_that_fits_is_sent_whole(self) -> None:
        for line in ("", "x", "y" * 399):
            self.assertEqual(line.encode(), Machine(boot_sector(line)).run())

    def test_firmware_finds_its_signature(self) -> None:
        for line in (LINE, "", "y" * 399):
            sector = boot_sector(line)
            self.assertEqual((512, b"\x55\xaa"), (len(sector), sector[-2:]))

    def test_a_line_that_does_not_fit_is_refused(self) -> None:
        self.assertRaises(ValueError, boot_sector, "y" * 400)
        self.assertRaises(ValueError, boot_sector, "é")

    def test_a_disk_image_is_whole_mebibytes_and_begins_with_the_sector(self) -> None:
        image = disk_image(2)
        self.assertEqual(2 << 20, len(image))
        self.assertEqual(boot_sector(), image[:512])
        self.assertEqual(b"", image[512:].strip(b"\0"))
