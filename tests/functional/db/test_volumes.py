"""Volumes of servers in a cell's database: one row says it all, and each volume is found by itself."""

from datetime import timedelta

import msgspec
import testscenarios

from kilonova.core.errors import Invalid
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.volume import NOBODY, Volume, VolumeReport, VolumeStage
from kilonova.db import instances, reports, volumes
from tests.functional.db.api_database import NOW
from tests.functional.db.databases import DatabaseCase
from tests.functional.db.servers import H1, H2, REQUEST, placed

load_tests = testscenarios.load_tests_apply_scenarios

LATER = NOW + timedelta(minutes=5)
ONE = Volume(volume_id="one", device="/dev/vdb", connection={"secret": "s"})
COMES = Volume(volume_id="two", stage=VolumeStage.ATTACHING, request_id=REQUEST)


class VolumesTest(DatabaseCase):
    """A server with one volume."""

    def setUp(self) -> None:
        super().setUp()
        self.cell = self.open("cell", "cell")
        self.server = placed(host=H1, volumes=(ONE,))
        instances.insert(self.cell, [self.server])
        self.uuid = self.server.instance.uuid

    def now(self) -> Instance:
        """Return the server."""
        found = instances.get(self.cell, self.uuid)
        assert found is not None
        return found

    def add(self, volume: Volume) -> None:
        """Give the server a volume."""
        volumes.change(self.cell, self.uuid, lambda i: (*i.volumes, volume), NOW)

    def say(self, said: VolumeReport, host: str = H1, request: str = REQUEST) -> bool:
        """Report as a host; False if it was refused."""
        report = InstanceReport(instance_uuid=self.uuid, epoch=0, request_id=request, volume=said)
        return not reports.apply(self.cell, host, [report], LATER).refused

    def test_a_server_has_its_volumes_but_for_what_is_secret(self) -> None:
        self.assertEqual((msgspec.structs.replace(ONE, connection=None),), self.now().volumes)
        self.assertEqual([self.uuid], [i.uuid for i in volumes.servers_with(self.cell, "one")])
        self.assertEqual((), volumes.servers_with(self.cell, "two"))

    def test_what_a_change_refuses_is_not_written(self) -> None:
        def refuse(_server: Instance) -> tuple[Volume, ...]:
            raise Invalid("no")

        self.assertRaises(Invalid, volumes.change, self.cell, self.uuid, refuse, NOW)
        self.assertEqual(1, len(self.now().volumes))

    def test_only_what_is_under_way_by_this_request_begins(self) -> None:
        self.add(COMES)
        begins = VolumeReport(volume_id="two", begins=VolumeStage.ATTACHING)
        self.assertTrue(self.say(begins))
        self.assertTrue(self.say(begins))
        self.assertFalse(self.say(begins, request="req-other"))
        self.assertFalse(self.say(begins, H2))
        self.assertFalse(self.say(VolumeReport(volume_id="one", begins=VolumeStage.ATTACHING)))
        self.assertTrue(self.say(VolumeReport(volume_id="two", stage=VolumeStage.ATTACHED)))
        self.assertFalse(self.say(begins))
        self.assertTrue(self.say(VolumeReport(volume_id="two", gone=True)))
        self.assertFalse(self.say(VolumeReport(volume_id="two")))

    def test_a_host_takes_a_reservation_and_leaves_others_theirs(self) -> None:
        def held() -> dict[str, str]:
            return self.now().volumes[0].attachments

        self.say(VolumeReport(volume_id="one", reserved="r"))
        self.assertEqual({NOBODY: "r"}, held())
        self.say(VolumeReport(volume_id="one", attachment="r"))
        self.assertEqual({H1: "r"}, held())
        self.say(VolumeReport(volume_id="one", attachment="b"), H2)
        self.assertEqual({H1: "r", H2: "b"}, held())
        self.say(VolumeReport(volume_id="one", attachment=""))
        self.assertEqual({H2: "b"}, held())

    def test_what_stands_still_is_found_until_it_was_looked_after(self) -> None:
        self.add(COMES)
        self.assertEqual((), volumes.standing_still(self.cell, NOW))
        stuck = volumes.standing_still(self.cell, LATER)
        self.assertEqual([self.uuid], [server.uuid for server in stuck])
        volumes.touch(self.cell, [self.uuid], LATER)
        self.assertEqual((), volumes.standing_still(self.cell, LATER))

    def test_a_deleted_server_has_none_that_anybody_finds(self) -> None:
        self.add(COMES)
        instances.mark_deleted(self.cell, [self.uuid], NOW)
        self.assertEqual((), volumes.servers_with(self.cell, "two"))
        self.assertEqual((), volumes.standing_still(self.cell, LATER))
        self.assertFalse(self.say(VolumeReport(volume_id="two")))
