"""Every action that stays on one host, from the user through each service to the guest and back."""

import base64
from datetime import timedelta
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kilonova.conductor import patience
from tests.functional.pipeline.case import PipelineCase


class ActionCase(PipelineCase):
    """A deployment with one server."""

    def boot(self, name: str = "vm", **more: Any) -> str:
        """Boot a server and return its UUID."""
        uuid = self.create(name, **more)
        self.until_status(uuid, "ACTIVE")
        return uuid

    def do(self, uuid: str, body: dict[str, Any], version: str = "2.104") -> requests.Response:
        """Ask for an action, which must be taken, and wait until nothing is under way."""
        answer = self.ask("compute", "POST", f"/servers/{uuid}/action", body, version)
        self.assertIn(answer.status_code, (200, 202), answer.text)
        self.until("it is over", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)
        return answer

    def refused(self, uuid: str, body: dict[str, Any], says: str) -> None:
        """Ask for an action, and expect 409."""
        answer = self.act(uuid, body)
        self.assertEqual(409, answer.status_code, answer.text)
        self.assertIn(says, answer.text)

    def status(self, uuid: str) -> tuple[str, int]:
        """Return the status of a server, and its power."""
        server = self.server(uuid)
        return server["status"], server["OS-EXT-STS:power_state"]

    def console(self, uuid: str) -> str:
        """Return what a guest's console said."""
        said: str = self.act(uuid, {"os-getConsoleOutput": {}}).json()["output"]
        return said

    def actions(self, uuid: str) -> list[str]:
        """Return the names of a server's actions, oldest first, and check that all ended well."""
        listed = self.get("compute", f"/servers/{uuid}/os-instance-actions")["instanceActions"]
        self.assertEqual({None}, {action["message"] for action in listed})
        return [action["action"] for action in reversed(listed)]


class EveryAction(ActionCase):
    """What each does."""

    def test_a_server_pauses_and_suspends_and_goes_on(self) -> None:
        uuid = self.boot()
        for action, event, status, power in (
            ("pause", "compute_pause_instance", "PAUSED", 3),
            ("unpause", "compute_unpause_instance", "ACTIVE", 1),
            ("suspend", "compute_suspend_instance", "SUSPENDED", 7),
            ("resume", "compute_resume_instance", "ACTIVE", 1),
        ):
            self.do(uuid, {action: None})
            self.assertEqual((status, power), self.status(uuid))
            self.assertEqual([(event, "Success")], self.events(uuid, action))
        self.refused(uuid, {"resume": None}, "vm_state active")
        self.assertEqual(
            ["create", "pause", "unpause", "suspend", "resume"], self.actions(uuid)
        )  # fmt: skip

    def test_a_server_is_rescued_and_back(self) -> None:
        uuid = self.boot()
        answer = self.do(uuid, {"rescue": {"adminPass": "secret"}})
        self.assertEqual((200, {"adminPass": "secret"}), (answer.status_code, answer.json()))
        self.assertEqual(("RESCUE", 1), self.status(uuid))
        self.assertIn(f"in rescue from {self.image}", self.console(uuid))
        self.refused(uuid, {"os-stop": None}, "vm_state rescued")
        self.do(uuid, {"unrescue": None})
        self.assertEqual(("ACTIVE", 1), self.status(uuid))
        self.assertEqual([("compute_unrescue_instance", "Success")], self.events(uuid, "unrescue"))

    def test_a_rebuild_makes_the_guest_anew_and_changes_what_it_says(self) -> None:
        uuid = self.boot(user_data="aGVsbG8=")
        other = self.ask(
            "image",
            "POST",
            "/v2/images",
            {"disk_format": "raw", "container_format": "bare", "os_distro": "other"},
        ).json()["id"]
        url = f"{self.deployment.options.urls['image']}/v2/images/{other}/file"
        token = {"X-Auth-Token": f"admin:{self.project}"}
        requests.put(url, data=b"x" * 512, headers=token, timeout=10)
        before = self.server(uuid)
        wanted = {
            "imageRef": other,
            "name": "again",
            "description": "new",
            "hostname": "again",
            "metadata": {"a": "b"},
            "user_data": None,
            "adminPass": "secret",
        }
        answer = self.do(uuid, {"rebuild": wanted})
        shown = answer.json()["server"]
        self.assertEqual(("REBUILD", "secret"), (shown["status"], shown["adminPass"]))
        self.assertTrue(answer.headers["Location"].endswith(f"/servers/{uuid}"))
        after = self.server(uuid)
        self.assertEqual(
            (other, "again", "new", "again", {"a": "b"}, None),
            (
                after["image"]["id"],
                after["name"],
                after["description"],
                after["OS-EXT-SRV-ATTR:hostname"],
                after["metadata"],
                after["OS-EXT-SRV-ATTR:user_data"],
            ),
        )
        self.assertEqual(("ACTIVE", 1), self.status(uuid))
        self.assertLess(before["OS-SRV-USG:launched_at"], after["OS-SRV-USG:launched_at"])
        self.assertEqual(1, self.console(uuid).count("BOOT-OK"))
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1}, self.held())

    def test_a_stopped_server_stays_stopped_through_its_rebuild_and_one_in_error_is_mended(
        self,
    ) -> None:
        uuid = self.boot()
        self.do(uuid, {"os-stop": None})
        self.do(uuid, {"rebuild": {"imageRef": self.image}})
        self.assertEqual(("SHUTOFF", 4), self.status(uuid))
        self.do(uuid, {"os-resetState": {"state": "error"}})
        self.assertEqual("ERROR", self.status(uuid)[0])
        self.do(uuid, {"rebuild": {"imageRef": self.image}})
        self.assertEqual(("ACTIVE", 1), self.status(uuid))

    def test_an_image_is_made_of_a_server_and_has_what_the_servers_has(self) -> None:
        uuid = self.boot()
        answer = self.do(uuid, {"createImage": {"name": "copy", "metadata": {"a": "b"}}})
        image = self.get("image", f"/v2/images/{answer.json()['image_id']}")
        self.assertEqual(
            ("copy", "active", "raw", "private", self.project, "snapshot", uuid, self.image, "b"),
            tuple(
                image[name]
                for name in (
                    "name", "status", "disk_format", "visibility", "owner", "image_type",
                    "instance_uuid", "base_image_ref", "a",
                )
            ),
        )  # fmt: skip
        self.assertLess(0, image["size"])
        self.assertEqual(("ACTIVE", 1), self.status(uuid))
        answer = self.do(uuid, {"createImage": {"name": "copy"}}, "2.44")
        self.assertIn("/v2/images/", answer.headers["Location"])
        self.assertEqual(b"", answer.content)
        called = {"name": "copy", "metadata": {"image_type": "golden"}}
        image_id = self.do(uuid, {"createImage": called}).json()["image_id"]
        self.assertEqual("golden", self.get("image", f"/v2/images/{image_id}")["image_type"])

    def test_of_backups_the_newest_are_kept(self) -> None:
        uuid = self.boot()
        made = []
        for rotation in (2, 2, 2, 1):
            wanted = {"name": "b", "backup_type": "daily", "rotation": rotation}
            made.append(self.do(uuid, {"createBackup": wanted}).json()["image_id"])
        kept = self.get("image", f"/v2/images?backup_type=daily&instance_uuid={uuid}")["images"]
        self.assertEqual(made[-1:], [image["id"] for image in kept], "though made in one second")
        wanted = {"name": "b", "backup_type": "weekly", "rotation": "0"}
        answer = self.do(uuid, {"createBackup": wanted})
        self.assertEqual((202, b""), (answer.status_code, answer.content))
        self.assertEqual([], self.get("image", "/v2/images?backup_type=weekly")["images"])

    def test_a_password_is_set_and_only_the_owners_key_reads_it(self) -> None:
        private = generate_private_key(65537, 2048)
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        key = {"name": "rsa", "public_key": public, "type": "ssh"}
        self.ask("compute", "POST", "/os-keypairs", {"keypair": key})
        uuid = self.boot(key_name="rsa")
        path = f"/servers/{uuid}/os-server-password"
        self.assertEqual({"password": ""}, self.get("compute", path))
        self.do(uuid, {"changePassword": {"adminPass": "new secret"}})
        sealed = self.get("compute", path)["password"]
        self.assertNotIn("secret", sealed)
        self.assertEqual(b"new secret", private.decrypt(_bytes(sealed), PKCS1v15()))
        self.assertIn("the password was set", self.console(uuid))
        self.assertEqual(204, self.ask("compute", "DELETE", path).status_code)
        self.assertEqual({"password": ""}, self.get("compute", path))

    def test_a_crash_dump_goes_beside_whatever_is_under_way(self) -> None:
        uuid = self.boot()
        self.do(uuid, {"trigger_crash_dump": None})
        self.until("it was interrupted", lambda: "NMI" in self.console(uuid))
        self.until(
            "it is told",
            lambda: (
                self.events(uuid, "trigger_crash_dump")
                == [("compute_trigger_crash_dump", "Success")]
            ),
        )

    def test_a_console_is_found_by_its_token(self) -> None:
        uuid = self.boot()
        wanted = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
        path = f"/servers/{uuid}/remote-consoles"
        url = self.ask("compute", "POST", path, wanted).json()["remote_console"]["url"]
        token = url.rpartition("token%3D")[2]
        found = self.get("compute", f"/os-console-auth-tokens/{token}")["console"]
        self.assertEqual((uuid, "127.0.0.1", 5900), tuple(found[k] for k in found)[:3])
        wrong = {"remote_console": {"protocol": "vnc", "type": "serial"}}
        self.assertEqual(400, self.ask("compute", "POST", path, wrong).status_code)
        old = self.do(uuid, {"os-getSerialConsole": {"type": "serial"}}, "2.5").json()["console"]
        proxy = f"ws://127.0.0.1:{self.deployment.options.ports[4]}/?token="
        self.assertTrue(old["url"].startswith(proxy), old)
        self.do(uuid, {"os-stop": None})
        self.assertEqual(409, self.ask("compute", "POST", path, wanted).status_code)
        self.delete(uuid)
        gone = self.ask("compute", "GET", f"/os-console-auth-tokens/{token}")
        self.assertEqual(404, gone.status_code)

    def test_a_server_that_runs_is_measured(self) -> None:
        uuid = self.boot()
        path = f"/servers/{uuid}/diagnostics"
        found = self.get("compute", path)
        self.assertEqual((1, 1, 128), (found["num_cpus"], found["num_disks"], _memory(found)))
        old = self.ask("compute", "GET", path, version="2.47").json()
        self.assertEqual(128 << 10, old["memory"])
        self.do(uuid, {"os-stop": None})
        answer = self.ask("compute", "GET", path)
        self.assertEqual(409, answer.status_code)
        self.assertIn("power state shutdown", answer.text)

    def test_a_forced_delete_is_a_delete(self) -> None:
        uuid = self.boot()
        self.refused(uuid, {"restore": None}, "Cannot 'restore' instance")
        self.assertEqual(202, self.act(uuid, {"forceDelete": None}).status_code)
        self.assert_nothing_left()

    def test_a_power_that_another_service_tells_of_is_looked_at(self) -> None:
        uuid = self.boot()
        event = {"name": "power-update", "server_uuid": uuid, "tag": "POWER_OFF"}
        lost = event | {"server_uuid": "0e1c9f6e-70a5-4d8c-8a0e-3a1f0c9d5b11"}
        answer = self.ask("compute", "POST", "/os-server-external-events", {"events": [event]})
        self.assertEqual(
            (200, [event | {"status": "completed", "code": 200}]),
            (answer.status_code, answer.json()["events"]),
        )
        body = {"events": [event, lost]}
        answer = self.ask("compute", "POST", "/os-server-external-events", body)
        self.assertEqual((207, [200, 404]), (answer.status_code, _codes(answer)))
        self.assertEqual(("ACTIVE", 1), self.status(uuid))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _memory(found: dict[str, Any]) -> int:
    maximum: int = found["memory_details"]["maximum"]
    return maximum


def _codes(answer: requests.Response) -> list[int]:
    return [event["code"] for event in answer.json()["events"]]


class FailingActions(ActionCase):
    """Hosts that cannot do what they are told."""

    script = [
        {"step": "pause", "server": "stuck", "error": "it does not stand still"},
        {"step": "image", "server": "stuck", "error": "the image is broken", "abort": True},
        {"step": "snapshot", "server": "stuck", "error": "no room"},
        {"step": "rescue", "server": "stuck", "error": "no rescue"},
        {"step": "suspend", "server": "slow", "seconds": 1.0},
    ]

    def test_an_action_that_fails_says_so_and_leaves_what_there_is(self) -> None:
        uuid = self.boot("stuck")
        self.do(uuid, {"pause": None})
        self.assertEqual(("ACTIVE", 1), self.status(uuid))
        self.assertEqual([("compute_pause_instance", "Error")], self.events(uuid, "pause"))
        listed = self.get("compute", f"/servers/{uuid}/os-instance-actions")["instanceActions"]
        self.assertEqual("Error", listed[0]["message"])
        self.do(uuid, {"os-stop": None})
        self.assertEqual(("SHUTOFF", 4), self.status(uuid))

    def test_a_guest_that_may_be_half_made_is_in_error_with_the_reason(self) -> None:
        for action, body, reason in (
            ("rebuild", {"imageRef": ""}, "the image is broken"),
            ("rescue", {}, "no rescue"),
        ):
            uuid = self.boot("stuck")
            wanted = body | ({"imageRef": self.image} if "imageRef" in body else {})
            self.do(uuid, {action: wanted})
            server = self.server(uuid)
            self.assertEqual(("ERROR", reason), (server["status"], server["fault"]["message"]))
            self.assertEqual("Error", self.events(uuid, action)[0][1])
            self.do(uuid, {"reboot": {"type": "HARD"}})
            self.assertEqual(("ACTIVE", 1), self.status(uuid))

    def test_an_image_that_cannot_be_filled_is_removed(self) -> None:
        uuid = self.boot("stuck")
        answer = self.do(uuid, {"createImage": {"name": "copy"}})
        path = f"/v2/images/{answer.json()['image_id']}"
        self.assertEqual(404, self.ask("image", "GET", path).status_code)
        self.assertEqual(("ACTIVE", 1), self.status(uuid))

    def test_one_action_at_a_time_but_a_delete_wins(self) -> None:
        uuid = self.boot("slow")
        self.assertEqual(202, self.act(uuid, {"suspend": None}).status_code)
        self.assertEqual("suspending", self.server(uuid)["OS-EXT-STS:task_state"])
        self.refused(uuid, {"pause": None}, "task_state suspending")
        self.delete(uuid)
        self.assert_nothing_left()


class DeadHost(ActionCase):
    """A host that ends with what it was told."""

    more = "[DEFAULT]\nservice_down_time = 2\nreport_interval = 1\n"
    script = [{"step": "stop", "server": "vm", "seconds": 20.0}]

    def test_what_a_dead_host_was_told_is_over_with_a_reason(self) -> None:
        self.patch(patience, "NOT_DONE_BY_SILENT", timedelta(seconds=1))
        uuid = self.boot()
        self.deployment.stop_part("compute")
        self.do(uuid, {"rebuild": {"imageRef": self.image}})
        server = self.server(uuid)
        self.assertEqual("ERROR", server["status"])
        self.assertIn("does not answer", server["fault"]["message"])
        listed = self.get("compute", f"/servers/{uuid}/os-instance-actions")["instanceActions"]
        self.assertEqual(("rebuild", "Error"), (listed[0]["action"], listed[0]["message"]))

    def test_what_a_living_host_says_nothing_of_is_over_after_a_while(self) -> None:
        self.patch(patience, "NOT_DONE", timedelta(seconds=2))
        self.patch(patience, "NOT_DONE_BY_SILENT", timedelta(seconds=1))
        uuid = self.boot()
        self.do(uuid, {"os-stop": None})
        self.assertEqual("ACTIVE", self.server(uuid)["status"])
        self.assertEqual([("compute_stop_instance", "Error")], self.events(uuid, "stop"))
