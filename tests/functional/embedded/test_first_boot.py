"""The first server of a deployment, as a person at the terminal sees it."""

from kilonova.core.errors import KilonovaError
from kilonova.embedded.boot_sector import disk_image
from kilonova.embedded.first_boot import FirstBoot, FirstBootFailed
from tests.functional.pipeline.case import PipelineCase


class FirstBootTest(PipelineCase):
    """On one fake host."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        self.user = FirstBoot(self.deployment, self.said.append)

    def test_each_stage_is_told_with_its_time_and_then_the_console(self) -> None:
        self.user.boot()
        told = [line.split() for line in self.said if " s  " in line]
        self.assertEqual(
            ["accepted", "scheduled", "networks", "disks", "guest", "ACTIVE", "guest"],
            [words[2] for words in told],
        )
        times = [float(words[0]) for words in told]
        self.assertTrue(all(0 <= time < 30 for time in times), times)
        self.assertIn("BOOT-OK", self.said[-1])
        self.assertEqual(["first"], [server["name"] for server in self.user.servers()])

    def test_preparing_again_makes_nothing_twice(self) -> None:
        image = self.state / "another.raw"
        image.write_bytes(disk_image())
        self.user.prepare((image, "raw"))
        self.assertEqual([], self.said)
        self.assertEqual(1, len(self.get("image", "/v2/images")["images"]))
        self.assertEqual(3, len(self.get("compute", "/flavors")["flavors"]))

    def test_a_service_that_is_away_is_told_in_a_sentence(self) -> None:
        self.deployment.stop_part("compute-api")
        error = self.assertRaises(FirstBootFailed, self.user.servers)
        self.assertIn("/servers/detail", error.message)


class FailingFirstBootTest(PipelineCase):
    """On a host where nothing can be built."""

    script = [{"step": "spawn", "error": "out of luck", "abort": True}]

    def test_a_first_server_that_fails_says_why(self) -> None:
        error = self.assertRaises(KilonovaError, FirstBoot(self.deployment, lambda _: None).boot)
        self.assertIsInstance(error, FirstBootFailed)
        self.assertIn("out of luck", error.message)


class RestartTest(PipelineCase):
    """A deployment that is started again on its state."""

    def test_a_second_start_finds_what_the_first_one_left(self) -> None:
        password = self.deployment.accounts.passwords["admin"]
        uuid = self.create("vm")
        self.until_status(uuid, "ACTIVE")
        self.deployment.stop()
        self.deployment.start()
        self.assertEqual(password, self.deployment.accounts.passwords["admin"])
        self.assertEqual(self.image, self.get("image", "/v2/images")["images"][0]["id"])
        self.assertEqual([uuid], [server["id"] for server in self.servers()])
        FirstBoot(self.deployment, lambda _: None).await_hosts(1)
        again = self.create("vm2")
        self.until_status(again, "ACTIVE")
