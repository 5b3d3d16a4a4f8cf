"""Volumes come to servers, go from them, and end with them, through the whole pipeline."""

from typing import Any

from tests.functional.pipeline.volume_case import VolumeCase


class AttachTest(VolumeCase):
    """A server that runs, and volumes that come and go."""

    def test_a_volume_is_attached_and_detached(self) -> None:
        uuid, volume = self.active(), self.volume()
        answer = self.attach(uuid, volume, tag="data")
        self.assertEqual(
            {"id": volume, "serverId": uuid, "volumeId": volume, "device": "/dev/vdb"}
            | {"tag": "data", "delete_on_termination": False},
            answer,
        )
        self.assertEqual([volume], self.attached(uuid))
        self.assertEqual([volume], list(self.guest(uuid).volumes))
        shown = self.get("compute", self.path(uuid, volume))["volumeAttachment"]
        (attachment,) = self.cinder.attachments
        self.assertEqual(attachment, shown["attachment_id"])
        self.assertEqual(("/dev/vdb", "data"), (shown["device"], shown["tag"]))
        self.until_over(uuid, "attach_volume")
        self.assertEqual([("compute_attach_volume", "Success")], self.events(uuid, "attach_volume"))
        self.detach(uuid, volume)
        self.assertEqual({}, self.guest(uuid).volumes)
        self.assertEqual({}, self.cinder.attachments)

    def test_the_users_own_token_is_what_a_volume_is_reserved_with(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        reserved = [a for a in self.cinder.asked if a[:2] == ("POST", "/v3/attachments")]
        self.assertEqual([f"admin:{self.project}"], [token for *_, token in reserved])
        connected = [a for a in self.cinder.asked if a[0] == "PUT"]
        self.assertEqual(["admin:service"], [token for *_, token in connected])

    def test_each_volume_keeps_the_name_that_it_was_given(self) -> None:
        uuid, first, second, third = self.active(), *(self.volume() for _ in range(3))
        self.assertEqual("/dev/vdb", self.attach(uuid, first)["device"])
        self.assertEqual("/dev/vdc", self.attach(uuid, second)["device"])
        self.detach(uuid, first)
        self.assertEqual("/dev/vdb", self.attach(uuid, third)["device"])
        listed = self.get("compute", self.path(uuid))["volumeAttachments"]
        self.assertEqual(
            {second: "/dev/vdc", third: "/dev/vdb"}, {v["volumeId"]: v["device"] for v in listed}
        )

    def test_what_is_in_use_or_nobodys_is_refused_and_stays_as_it_is(self) -> None:
        uuid, other = self.active("one"), self.active("two")
        volume, strange = self.volume(), self.cinder.add("another-project")
        self.attach(other, volume)
        for status, wanted in ((400, volume), (404, strange)):
            body = {"volumeAttachment": {"volumeId": wanted}}
            answer = self.ask("compute", "POST", self.path(uuid), body)
            self.assertEqual(status, answer.status_code, answer.text)
        self.assertEqual([], self.attached(uuid))
        self.assertEqual("available", self.cinder.status(strange))
        answer = self.ask("compute", "DELETE", self.path(uuid, volume))
        self.assertEqual(404, answer.status_code)
        self.assertEqual("in-use", self.cinder.status(volume))

    def test_several_servers_share_a_volume_that_is_made_for_that(self) -> None:
        volume = self.volume(multiattach=True)
        one, two = self.active("one"), self.active("two")
        body = {"volumeAttachment": {"volumeId": volume}}
        old = self.ask("compute", "POST", self.path(one), body, version="2.59")
        self.assertEqual(400, old.status_code)
        self.attach(one, volume)
        self.attach(two, volume)
        self.until("both are", lambda: len(self.cinder.hosts_of(volume)) == 2)
        self.detach(one, volume, status="in-use")
        self.assertEqual([volume], self.attached(two))

    def test_a_volume_grows_under_its_server(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        self.cinder.volumes[volume]["size"] = 7
        event = {"name": "volume-extended", "server_uuid": uuid, "tag": volume}
        self.ask("compute", "POST", "/os-server-external-events", {"events": [event]})
        self.until("it is seen", lambda: self.guest(uuid).volumes[volume].size_gb == 7)
        self.until_over(uuid, "extend_volume")

    def test_a_volume_takes_the_place_of_another_while_the_storage_moves_it(self) -> None:
        uuid, old, new = self.active(), self.volume(), self.volume(size=2)
        self.attach(uuid, old)
        body = {"volumeAttachment": {"volumeId": new}}
        answer = self.ask("compute", "PUT", self.path(uuid, old), body)
        self.assertEqual(409, answer.status_code, answer.text)
        self.cinder.volumes[old]["migration_status"] = "migrating"
        answer = self.ask("compute", "PUT", self.path(uuid, old), body)
        self.assertEqual(202, answer.status_code, answer.text)
        self.until_over(uuid, "swap_volume")
        self.assertEqual([old], self.attached(uuid))
        self.assertEqual([old], list(self.guest(uuid).volumes))
        self.assertEqual(("in-use", [old]), (self.cinder.status(old), list(self.cinder.volumes)))
        (attachment,) = self.cinder.attachments
        (shown,) = self.get("compute", self.path(uuid))["volumeAttachments"]
        self.assertEqual(attachment, shown["attachment_id"])
        again = self.ask("compute", "PUT", self.path(uuid, old), body)
        self.assertEqual(409, again.status_code, again.text)

    def test_the_storage_has_a_host_snapshot_a_file_and_is_told(self) -> None:
        uuid, volume = self.active(), self.volume()
        self.attach(uuid, volume)
        snapshot = self.cinder.add_snapshot(self.project)
        info = {"snapshot_id": snapshot, "type": "qcow2", "new_file": "volume.snap"}
        body = {"snapshot": {"volume_id": volume, "create_info": info}}
        answer = self.ask("compute", "POST", "/os-assisted-volume-snapshots", body)
        self.assertEqual({"snapshot": {"id": snapshot, "volumeId": volume}}, answer.json())
        shown = self.cinder.snapshots[snapshot]
        self.until("it is told", lambda: shown["status"] == "creating")
        self.assertIn("/dev/vdb goes on with volume.snap", self.guest(uuid).console)
        path = f"/os-assisted-volume-snapshots/{snapshot}?delete_info="
        for bad in ("", "[]", '{"volume_id": 1}', f'{{"volume_id": "{snapshot}"}}'):
            self.assertEqual(400, self.ask("compute", "DELETE", path + bad).status_code)
        merge = f'{{"volume_id":"{volume}","file_to_merge":"a","merge_target_file":"b"}}'
        self.assertEqual(204, self.ask("compute", "DELETE", path + merge).status_code)
        self.until("it is told", lambda: shown["status"] == "deleting")
        self.assertIn("/dev/vdb has merged a", self.guest(uuid).console)

    def test_whether_a_volume_ends_with_its_server_can_be_changed(self) -> None:
        uuid, stays, ends = self.active(), self.volume(), self.volume()
        self.attach(uuid, stays, delete_on_termination=True)
        self.attach(uuid, ends)
        for volume, flag in ((stays, False), (ends, True)):
            body = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": flag}}
            answer = self.ask("compute", "PUT", self.path(uuid, volume), body)
            self.assertEqual(202, answer.status_code, answer.text)
        wrong: dict[str, Any] = {"volumeAttachment": {"volumeId": stays, "device": "/dev/vdz"}}
        answer = self.ask("compute", "PUT", self.path(uuid, stays), wrong)
        self.assertEqual(400, answer.status_code)
        self.delete(uuid)
        self.assertEqual("available", self.cinder.status(stays))
        self.assertNotIn(ends, self.cinder.volumes)


class BootTest(VolumeCase):
    """Servers that boot from volumes."""

    def test_a_server_boots_from_a_volume_made_of_an_image(self) -> None:
        uuid = self.from_volume()
        server = self.until_status(uuid, "ACTIVE")
        (volume,) = self.cinder.volumes
        self.assertEqual("", server["image"])
        self.assertEqual("/dev/vda", server["OS-EXT-SRV-ATTR:root_device_name"])
        self.assertEqual([volume], self.attached(uuid))
        self.assertEqual("in-use", self.cinder.status(volume))
        self.assertEqual(self.image, self.cinder.volumes[volume]["wanted"]["imageRef"])
        self.assertEqual(self.project, self.cinder.volumes[volume]["project"])
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 128}, self.held())
        root = self.ask("compute", "DELETE", self.path(uuid, volume))
        self.assertEqual(400, root.status_code)
        self.delete(uuid)
        self.assertEqual({}, self.cinder.volumes)
        self.assertEqual({}, self.cinder.attachments)
        self.assert_nothing_left()

    def test_a_host_waits_for_a_volume_that_is_being_made(self) -> None:
        self.cinder.makes_at_once = False
        uuid = self.from_volume()
        self.until("it is made", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.assertEqual("BUILD", self.server(uuid)["status"])
        self.cinder.finish()
        self.until_status(uuid, "ACTIVE")

    def test_a_volume_that_cannot_be_made_ends_the_build(self) -> None:
        self.cinder.makes_at_once = False
        uuid = self.from_volume()
        self.until("it is made", lambda: self.server(uuid)["OS-EXT-STS:task_state"] == "spawning")
        self.cinder.finish("error")
        server = self.until_status(uuid, "ERROR")
        self.assertIn("could not be made", server["fault"]["message"])
        self.delete(uuid)
        self.assertEqual({}, self.cinder.volumes)

    def test_snapshots_and_blank_volumes_are_made_and_named_in_order(self) -> None:
        snapshot, data = self.cinder.add_snapshot(self.project, 3), self.volume()
        devices = [
            {"source_type": "volume", "uuid": data, "destination_type": "volume"},
            {"source_type": "snapshot", "uuid": snapshot, "destination_type": "volume"}
            | {"boot_index": 0, "delete_on_termination": True},
            {"source_type": "blank", "destination_type": "volume", "volume_size": 2}
            | {"boot_index": 1, "volume_type": "fast"},
        ]
        uuid = self.create("vm", imageRef="", block_device_mapping_v2=devices)
        self.until_status(uuid, "ACTIVE")
        listed = self.get("compute", self.path(uuid))["volumeAttachments"]
        named = {one["device"]: one["volumeId"] for one in listed}
        self.assertEqual(data, named["/dev/vdc"])
        of_snapshot, blank = named["/dev/vda"], named["/dev/vdb"]
        self.assertEqual(snapshot, self.cinder.volumes[of_snapshot]["wanted"]["snapshot_id"])
        self.assertEqual(3, self.cinder.volumes[of_snapshot]["size"])
        self.assertEqual({"size": 2, "volume_type": "fast"}, self.cinder.volumes[blank]["wanted"])
        self.delete(uuid)
        self.assertEqual({data, blank}, set(self.cinder.volumes))
        self.assertEqual({"available"}, {v["status"] for v in self.cinder.volumes.values()})

    def test_a_request_that_is_refused_leaves_no_volume(self) -> None:
        data = self.volume()
        root = {"source_type": "image", "uuid": self.image, "destination_type": "volume"}
        root |= {"boot_index": 0, "volume_size": 1}
        taken = {"source_type": "volume", "uuid": data, "destination_type": "volume"}
        server = {"name": "vm", "flavorRef": "1", "networks": "none"}
        server |= {"block_device_mapping_v2": [root, taken]}
        self.cinder.failures["POST attachments"] = 400
        answer = self.ask("compute", "POST", "/servers", {"server": server})
        self.assertEqual(400, answer.status_code, answer.text)
        self.assertEqual([data], list(self.cinder.volumes))
        self.assertEqual({}, self.cinder.attachments)
        self.cinder.stop()
        answer = self.ask("compute", "POST", "/servers", {"server": server})
        self.assertEqual(503, answer.status_code, answer.text)
        self.assertEqual([], self.servers())
        self.assertEqual(0, self.quota_used())

    def test_an_image_of_it_names_snapshots_and_boots_another(self) -> None:
        uuid = self.from_volume()
        self.until_status(uuid, "ACTIVE")
        answer = self.act(uuid, {"createImage": {"name": "copy"}})
        self.assertEqual(202, answer.status_code, answer.text)
        (snapshot,) = self.cinder.snapshots
        copy = self.create("again", imageRef=answer.json()["image_id"])
        self.until_status(copy, "ACTIVE")
        (volume,) = self.attached(copy)
        self.assertEqual(snapshot, self.cinder.volumes[volume]["wanted"]["snapshot_id"])

    def test_it_is_rebuilt_on_its_volume(self) -> None:
        uuid = self.from_volume()
        self.until_status(uuid, "ACTIVE")
        (volume,) = self.cinder.volumes
        rebuild = {"rebuild": {"imageRef": self.image}}
        old = self.ask("compute", "POST", f"/servers/{uuid}/action", rebuild, version="2.92")
        self.assertEqual(400, old.status_code)
        # Of the image that it was made of it keeps what is on it; from 2.93 on it is written anew.
        self.cinder.volumes[volume] |= {
            "wanted": {},
            "volume_image_metadata": {"image_id": self.image},
        }
        for version, wanted in (("2.92", {}), ("2.93", {"imageRef": self.image})):
            path = f"/servers/{uuid}/action"
            answer = self.ask("compute", "POST", path, rebuild, version=version)
            self.assertEqual(202, answer.status_code, answer.text)
            self.until("it is over", lambda: self.server(uuid)["OS-EXT-STS:task_state"] is None)
            self.assertEqual("ACTIVE", self.server(uuid)["status"])
            self.assertEqual(wanted, self.cinder.volumes[volume]["wanted"])
        self.assertEqual(("in-use", 1), (self.cinder.status(volume), len(self.cinder.attachments)))
        self.assertEqual([volume], list(self.guest(uuid).volumes))
