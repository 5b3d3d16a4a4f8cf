"""For how long guests have run, out of the machine's processes."""

import os
import subprocess
import sys
import time

import testtools

from kilonova.compute.libvirt.processes import Uptimes, guest_of, started_at
from kilonova.core.ids import InstanceUuid

UUID = InstanceUuid("3f0d6c1e-52c4-4d3a-9a43-8a3c7e1f0b21")


class ProcessesTest(testtools.TestCase):
    """Processes."""

    def test_a_process_names_its_guest(self) -> None:
        command = b"/usr/bin/qemu-system-x86_64\0-name\0guest=kilonova-1,debug-threads=on\0-S\0"
        self.assertEqual("kilonova-1", guest_of(command))
        for other in (b"", b"/usr/bin/less\0-name\0guest=kilonova-1\0", command[:30]):
            self.assertIsNone(guest_of(other))

    def test_a_process_says_when_it_started_whatever_it_is_called(self) -> None:
        ticks = os.sysconf("SC_CLK_TCK")
        rest = " ".join(str(n) for n in range(4, 22))
        for name in ("qemu", "a ) b (c"):
            self.assertEqual(7.0, started_at(f"12 ({name}) S {rest} {7 * ticks} 99 100"))

    def test_a_guest_has_run_since_its_process_started_whoever_looked(self) -> None:
        script = "import time; time.sleep(100)"
        # What stands in its command line is all that is known of a process.
        command = ["qemu-like", "-c", script, "-name", "guest=uptimes-of-a-test,x"]
        before = time.monotonic()
        with subprocess.Popen(command, executable=sys.executable) as process:
            self.addCleanup(process.kill)
            time.sleep(1.1)
            for _ in range(2):
                found = Uptimes().of({UUID: (1, "uptimes-of-a-test")})
                self.assertIn(found[UUID], range(1, int(time.monotonic() - before) + 1))
            uptimes = Uptimes()
            self.assertEqual({}, uptimes.of({UUID: (1, "nobody")}))
            self.assertEqual({}, uptimes.of({UUID: (1, "uptimes-of-a-test")}), "it was looked for")
            self.assertEqual({UUID}, set(uptimes.of({UUID: (2, "uptimes-of-a-test")})))
            process.kill()
