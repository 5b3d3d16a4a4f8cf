"""Notifications on a real broker: whoever listens where Nova's consumers do gets them, in order."""

import json
from collections.abc import Iterator
from typing import Any

import amqp
import kombu

from tests.integration import services
from tests.integration.case import BootTest, eventually
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import DEMO

NAME = "notify"


class NotificationsTest(BootTest):
    """A deployment that notifies over its own broker."""

    @classmethod
    def describe(cls) -> Deployment:
        """Return a deployment with one fake host."""
        told = {"oslo_messaging_notifications": {"driver": "messagingv2"}}
        hosts = [fake_hosts("fake", 1)]
        return Deployment(NAME, services.mariadb(), hosts, settings=told)

    def setUp(self) -> None:
        super().setUp()
        connection = kombu.Connection(
            services.rabbitmq().transport_url(NAME).replace("rabbit", "amqp", 1)
        )
        self.addCleanup(connection.release)
        self.connection = connection
        self.got: list[dict[str, Any]] = []

    def received(self, about: str) -> list[str]:
        """Take what has arrived, and return the event types that begin so, oldest first."""
        for level in ("info", "error"):
            self.got += self._taken(f"versioned_notifications.{level}")
        return [one["event_type"] for one in self.got if one["event_type"].startswith(about)]

    def _taken(self, name: str) -> Iterator[dict[str, Any]]:
        with self.connection.channel() as channel:
            waiting = kombu.Queue(name, no_declare=True)(channel)
            try:
                while (message := waiting.get(no_ack=True)) is not None:
                    envelope = json.loads(message.body)
                    yield json.loads(envelope["oslo.message"])
            except amqp.NotFound:
                # Nobody has sent anything there yet.
                return

    def test_a_servers_life_is_told_to_a_consumer(self) -> None:
        self.add_flavor("m1.tiny", 64)
        file = self.deployment.directory / "image"
        file.write_bytes(b"never read")
        image = self.add_image(file, "raw")
        cloud = self.deployment
        arguments = ("--flavor", "m1.tiny", "--image", image, "--nic", "none", "--wait", "vm")
        server = cloud.openstack_json("server", "create", *arguments, user=DEMO)
        cloud.openstack("server", "stop", "vm", user=DEMO)
        eventually(
            "it has stopped", 120, lambda: "instance.power_off.end" in self.received("instance.")
        )
        cloud.openstack("server", "delete", "--wait", "vm", user=DEMO)
        expected = [
            "instance.create.start",
            "instance.create.end",
            "instance.power_off.start",
            "instance.power_off.end",
            "instance.delete.start",
            "instance.shutdown.start",
            "instance.shutdown.end",
            "instance.delete.end",
        ]
        eventually(
            f"they are {expected}",
            20,
            lambda: [x for x in self.received("instance.") if x != "instance.update"] == expected,
        )
        self.assertEqual(["flavor.create"], self.received("flavor."))
        self.assertEqual(["service.create"], self.received("service."))
        created = next(one for one in self.got if one["event_type"] == "instance.create.end")
        self.assertEqual("nova-compute:fake", created["publisher_id"])
        self.assertEqual("InstanceCreatePayload", created["payload"]["nova_object.name"])
        data = created["payload"]["nova_object.data"]
        self.assertEqual((server["id"], "active"), (data["uuid"], data["state"]))
        self.assertEqual(server["project_id"], created["_context_project_id"])
