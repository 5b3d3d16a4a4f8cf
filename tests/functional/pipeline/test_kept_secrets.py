"""Secrets reach hosts and guests, and nothing that is read by others: no log, no error, no event."""

import base64
import logging
from typing import Any

import sqlalchemy as sa
import testtools

from kilonova.db.cell_schema import CellBase
from kilonova.db.engine import Database
from tests.functional.pipeline.volume_case import VolumeCase

SESAME = "open-sesame"
"""Begins every secret here."""


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Heard(logging.Handler):
    """Keeps everything that is logged, whoever says it and however detailed it is."""

    def __init__(self, case: testtools.TestCase) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []
        root = logging.getLogger()
        case.addCleanup(root.setLevel, root.level)
        case.addCleanup(root.removeHandler, self)
        root.setLevel(logging.DEBUG)
        root.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, with its traceback."""
        self.lines.append(self.format(record))


class KeptSecrets(VolumeCase):
    """Servers that are built, changed, moved, and that fail, with secrets of every kind."""

    hosts = 2
    script: list[dict[str, Any]] = [
        {"step": "spawn", "server": "unlucky", "error": "out of luck"},
        {"step": "password", "server": "vm", "times": 1, "error": "the agent sleeps"},
        {"step": "attach-volume", "server": "vm", "times": 1, "error": "no slot"},
    ]

    def setUp(self) -> None:
        super().setUp()
        plain = self.cinder._connection

        def connection(found: dict[str, Any]) -> dict[str, Any]:
            return plain(found) | {"auth_username": "chap", "auth_password": f"{SESAME}-chap"}

        self.patch(self.cinder, "_connection", connection)
        self.heard = Heard(self)

    def do(self, uuid: str, action: dict[str, Any]) -> None:
        """Ask for an action, and wait until nothing is under way."""
        answer = self.act(uuid, action)
        self.assertIn(answer.status_code, (200, 202), answer.text)
        task = "OS-EXT-STS:task_state"
        self.until("nothing is under way", lambda: self.server(uuid)[task] is None)

    def secretive(self, name: str) -> str:
        """Ask for a server that is given secrets, and return its UUID."""
        return self.create(
            name,
            adminPass=f"{SESAME}-admin",
            user_data=_encoded(f"{SESAME}-data"),
            config_drive=True,
        )

    def test_nobody_reads_them_but_who_they_are_for(self) -> None:
        uuid, volume = self.secretive("vm"), self.volume()
        self.until_status(uuid, "ACTIVE")
        self.until_status(self.secretive("unlucky"), "ERROR")
        for _ in range(2):
            self.do(uuid, {"changePassword": {"adminPass": f"{SESAME}-new"}})
        body = {"volumeAttachment": {"volumeId": volume}}
        self.ask("compute", "POST", self.path(uuid), body)
        self.until_over(uuid, "attach_volume", "Error")
        self.attach(uuid, volume)
        console = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
        opened = self.ask("compute", "POST", f"/servers/{uuid}/remote-consoles", console)
        token = opened.json()["remote_console"]["url"].rpartition("token%3D")[2].partition("&")[0]
        self.assertGreater(len(token), 16, opened.text)
        self.do(uuid, {"migrate": None})
        self.until_status(uuid, "VERIFY_RESIZE")
        self.do(uuid, {"revertResize": None})
        self.do(uuid, {"rebuild": {"imageRef": self.image, "adminPass": f"{SESAME}-again"}})
        for needle in (SESAME, _encoded(SESAME)[:12], token):
            found = [line for line in self.heard.lines if needle in line]
            self.assertEqual([], found[:3])
            self.assertEqual([], self.stored(needle))
        self.assertGreater(len(self.heard.lines), 100, "nothing was listened to")

    def stored(self, needle: str) -> list[str]:
        """Return what the cell keeps of actions, events and faults that has a text in it."""
        conductor: Any = self.deployment.part("conductor")
        scene = conductor._converger._scene
        database: Database = scene.database(scene.cells.all()[-1].uuid)
        names = ("instance_actions", "instance_action_events", "instance_faults", "migrations")
        rows: list[str] = []
        for name in names:
            table = CellBase.metadata.tables[name]
            found = database.query(lambda c, t=table: c.execute(sa.select(t)).all())  # type: ignore[misc]
            rows += [str(row) for row in found]
        self.assertNotEqual([], rows)
        return [row for row in rows if needle in row]
