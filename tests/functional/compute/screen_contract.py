"""What drivers do whose guests have a screen and a serial line."""

import socket

import msgspec

from kilonova.consoles import far_end
from kilonova.core.errors import Invalid, Unavailable, WrongState
from kilonova.core.states import PowerState
from tests.functional.compute.driver_contract import DriverContract, never


class HasConsoles(DriverContract):
    """For hypervisors whose guests have consoles somewhere, and a kernel that can be interrupted."""

    def test_a_guest_that_runs_has_a_screen_and_a_line_and_another_has_none(self) -> None:
        server = self.spawned(self.server())
        for kind in ("novnc", "serial"):
            self.assertEqual("127.0.0.1", self.driver.console(server.uuid, kind).host)
        self.driver.stop(server.uuid, 0, never)
        for kind in ("novnc", "serial"):
            self.assertRaises(WrongState, self.driver.console, server.uuid, kind)

    def test_a_guest_runs_on_when_its_kernel_was_interrupted(self) -> None:
        server = self.spawned(self.server())
        self.driver.crash_dump(server.uuid)
        self.assertEqual(PowerState.RUNNING, self.power(server))


class HasScreen(HasConsoles):
    """For hypervisors at whose consoles somebody listens."""

    def test_consoles_are_reached_through_their_hosts_door_and_no_others(self) -> None:
        server = self.spawned(self.server())
        screen = self.driver.console(server.uuid, "novnc")
        with far_end.connect(screen) as end:
            self.assertEqual(b"RFB 003.008\n", end.recv(12, socket.MSG_WAITALL))
        far_end.connect(self.driver.console(server.uuid, "serial")).close()
        self.assertRaises(Invalid, self.driver.console, server.uuid, "webmks")
        guess = msgspec.structs.replace(screen, path="/guess")
        self.assertRaises(Unavailable, far_end.connect, guess)
