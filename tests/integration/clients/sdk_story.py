"""openstacksdk, as a program would use it. Runs in the clients' environment; a wrong answer ends it.

    sdk_story.py CLOUD OPERATORS_CLOUD IMAGE_ID HOST

The flavors are ``tiny`` and ``small``; the host has nothing to do with any other test.
"""

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openstack
from openstack import exceptions
from openstack.compute.v2.server import Server

INTERVAL = 0.2
"""Seconds between two looks at what is waited for."""


def same(expected: Any, seen: Any) -> None:
    """Compare."""
    if expected != seen:
        raise AssertionError(f"{seen!r} instead of {expected!r}")


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not after 30 s")
        time.sleep(INTERVAL)


@contextmanager
def refused(kind: type[Exception]) -> Iterator[None]:
    """What is done inside raises that."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


LONG_AGO, LATER = datetime.datetime(2020, 1, 1), datetime.datetime(2100, 1, 1)


class Tenant:
    """What a member of a project does with one server."""

    def __init__(self, cloud: str, image: str) -> None:
        self._connection = openstack.connect(cloud=cloud)
        self._compute = self._connection.compute
        self._image = image

    def create(self, name: str) -> Server:
        """Create a server and wait for it."""
        made = self._connection.create_server(
            name,
            image=self._image,
            flavor="tiny",
            wait=True,
            timeout=60,
            auto_ip=False,
            meta={"a": "1"},
        )
        same(("ACTIVE", {"a": "1"}, self._image), (made.status, made.metadata, made.image.id))
        return self._compute.get_server(made.id)

    def wait(self, server: Server, status: str = "ACTIVE") -> Server:
        """Wait until a server has a status."""
        # Looked at anew: the one that is given says what was.
        now = self._compute.get_server(server.id)
        return self._compute.wait_for_server(now, status, interval=INTERVAL, wait=60)

    def look(self, server: Server) -> None:
        """Find it in every way."""
        compute = self._compute
        same(server.id, compute.find_server(server.name).id)
        same([server.name], [one.name for one in compute.servers(name=server.name)])
        same(server.id, self._connection.get_server(server.name).id)
        pages = [one.name for one in compute.servers(sort_key="display_name", limit=1)]
        same((True, sorted(pages)), (server.name in pages, pages))
        (address,) = compute.server_ips(server)
        same(("default", 4), (address.network_label, address.version))
        same("create", [one.action for one in compute.server_actions(server)][-1])
        first = list(compute.server_actions(server))[-1]
        shown = compute.get_server_action(first.request_id, server)
        same("Success", shown.events[0].result if shown.events else None)
        with refused(exceptions.NotFoundException):
            compute.get_server("00000000-0000-4000-8000-000000000000")

    def describe(self, server: Server) -> None:
        """Metadata, tags, a name."""
        compute = self._compute
        compute.set_server_metadata(server, b="2")
        same({"a": "1", "b": "2"}, compute.get_server_metadata(server).metadata)
        compute.delete_server_metadata(server, ["a"])
        same({"b": "2"}, compute.get_server_metadata(server).metadata)
        compute.add_tag_to_server(server, "red")
        compute.add_tag_to_server(server, "blue")
        compute.remove_tag_from_server(server, "blue")
        same(["red"], compute.get_server(server.id).tags)
        same([server.id], [one.id for one in compute.servers(tags="red")])
        compute.remove_tags_from_server(server)
        same([], compute.get_server(server.id).tags)
        same("other", compute.update_server(server, name="other", description="d").name)
        compute.update_server(server, name="sdk")

    def act(self, server: Server) -> None:
        """Everything that changes its state."""
        compute = self._compute
        for act, status in (
            (compute.stop_server, "SHUTOFF"),
            (compute.start_server, "ACTIVE"),
            (compute.pause_server, "PAUSED"),
            (compute.unpause_server, "ACTIVE"),
            (compute.suspend_server, "SUSPENDED"),
            (compute.resume_server, "ACTIVE"),
            (compute.rescue_server, "RESCUE"),
            (compute.unrescue_server, "ACTIVE"),
            (compute.shelve_server, "SHELVED_OFFLOADED"),
            (compute.unshelve_server, "ACTIVE"),
        ):
            act(server)
            self.wait(server, status)
        compute.reboot_server(server, "HARD")
        self.wait(server)
        compute.rebuild_server(server, image=self._image, name=server.name)
        self.wait(server)
        compute.resize_server(server, "small")
        self.wait(server, "VERIFY_RESIZE")
        compute.confirm_server_resize(server)
        self.wait(server)
        same("small", compute.get_server(server.id).flavor.original_name)
        compute.lock_server(server, locked_reason="mine")
        with refused(exceptions.ConflictException):
            compute.stop_server(server)
        compute.unlock_server(server)
        image = compute.create_server_image(server, "sdk-image", wait=True, timeout=60)
        same("active", image.status)
        self._connection.delete_image(image.id, wait=True)

    def visit(self, server: Server) -> None:
        """Consoles."""
        compute = self._compute
        same(True, "BOOT-OK" in compute.get_server_console_output(server, 10)["output"])
        console = compute.create_console(server, "novnc")
        same(("novnc", True), (console["type"], "token" in console["url"]))
        same(None, compute.get_server_password(server) or None)

    def possess(self) -> None:
        """Key pairs, groups, limits, usage, zones, flavors."""
        compute = self._compute
        made = compute.create_keypair(name="sdk", public_key=PUBLIC_KEY)
        same(made.fingerprint, compute.get_keypair("sdk").fingerprint)
        same(["sdk"], [one.name for one in compute.keypairs() if one.name == "sdk"])
        compute.delete_keypair("sdk", ignore_missing=False)
        same(None, compute.find_keypair("sdk"))
        group = compute.create_server_group(name="sdk", policy="soft-anti-affinity")
        same("soft-anti-affinity", compute.get_server_group(group).policy)
        same(group.id, compute.find_server_group("sdk").id)
        compute.delete_server_group(group, ignore_missing=False)
        limits = self._connection.get_compute_limits()
        same(True, limits.total_instances_used >= 1)
        project = self._connection.current_project_id
        usage = compute.get_usage(project, start=datetime.datetime(2020, 1, 1))
        same(True, usage.total_memory_mb_usage > 0)
        same(True, "nova" in [zone.name for zone in compute.availability_zones()])
        same({}, compute.find_flavor("tiny", get_extra_specs=True).extra_specs)
        same(True, {"tiny", "small"} <= {flavor.name for flavor in compute.flavors()})
        same(-1, compute.get_quota_set(project).ram)

    def delete(self, server: Server) -> None:
        """Delete it and wait until it is gone."""
        same(True, self._connection.delete_server(server.id, wait=True, timeout=60))
        same(None, self._compute.find_server(server.name))
        same(False, self._connection.delete_server(server.id, wait=True, timeout=60))


class Operator:
    """What an administrator does."""

    def __init__(self, cloud: str, host: str) -> None:
        self._compute = openstack.connect(cloud=cloud).compute
        self._host = host

    def offer(self) -> None:
        """A flavor."""
        compute = self._compute
        flavor = compute.create_flavor(name="sdk", vcpus=1, ram=64, disk=1, is_public=False)
        compute.create_flavor_extra_specs(flavor, {"hw:cpu_policy": "shared"})
        specs = compute.fetch_flavor_extra_specs(flavor).extra_specs
        same({"hw:cpu_policy": "shared"}, specs)
        same("new", compute.update_flavor(flavor.id, description="new").description)
        compute.flavor_add_tenant_access(flavor, "a" * 32)
        same(["a" * 32], [one["tenant_id"] for one in compute.get_flavor_access(flavor)])
        compute.delete_flavor(flavor, ignore_missing=False)

    def keep(self) -> None:
        """Hosts."""
        compute, host = self._compute, self._host
        hypervisor = compute.find_hypervisor(host, ignore_missing=False)
        same(("up", "enabled"), (hypervisor.state, hypervisor.status))
        same(host, compute.get_hypervisor(hypervisor.id).name)
        same(True, len(list(compute.hypervisors(details=True))) > 1)
        (service,) = compute.services(host=host, binary="nova-compute")
        same("disabled", compute.disable_service(service, disabled_reason="sdk").status)
        same("enabled", compute.enable_service(service).status)
        same(True, compute.update_service_forced_down(service, forced=True).is_forced_down)
        same(False, compute.update_service_forced_down(service, forced=False).is_forced_down)
        aggregate = compute.create_aggregate(name="sdk")
        compute.add_host_to_aggregate(aggregate, host)
        compute.set_aggregate_metadata(aggregate, {"ssd": "true"})
        shown = compute.find_aggregate("sdk")
        same(([host], {"ssd": "true"}), (shown.hosts, shown.metadata))
        compute.remove_host_from_aggregate(aggregate, host)
        compute.delete_aggregate(aggregate, ignore_missing=False)

    def grant(self, project: str) -> None:
        """Quotas."""
        compute = self._compute
        same(77, compute.update_quota_set(project, instances=77).instances)
        same(77, compute.get_quota_set(project, usage=True).instances)
        compute.revert_quota_set(project)
        same(-1, compute.get_quota_set(project).instances)
        same(-1, compute.get_quota_class_set("default").instances)
        same(True, project in [usage.project_id for usage in compute.usages(LONG_AGO, LATER)])

    def move(self, server: str) -> None:
        """A server."""
        compute = self._compute
        before = compute.get_server(server).compute_host
        compute.migrate_server(server)
        compute.wait_for_server(compute.get_server(server), "VERIFY_RESIZE", interval=INTERVAL)
        compute.revert_server_resize(server)
        compute.wait_for_server(compute.get_server(server), interval=INTERVAL)
        same(before, compute.get_server(server).compute_host)
        compute.live_migrate_server(server, block_migration="auto")
        eventually(lambda: compute.get_server(server).compute_host != before)
        compute.wait_for_server(compute.get_server(server), interval=INTERVAL)
        migrations = list(compute.migrations(instance_uuid=server))
        kinds = ["live-migration", "migration", "resize"]
        same(kinds, [one.migration_type for one in migrations])
        same("running", compute.get_server_diagnostics(server).state)
        compute.reset_server_state(server, "error")
        same("ERROR", compute.get_server(server).status)
        compute.reset_server_state(server, "active")
        events = [{"name": "network-changed", "server_uuid": server}]
        (event,) = compute.create_server_external_events(events)
        same("completed", event.status)


PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f sdk@example"
)


def main() -> None:
    """Tell the story."""
    cloud, operators_cloud, image, host = sys.argv[1:]
    tenant, operator = Tenant(cloud, image), Operator(operators_cloud, host)
    server = tenant.create("sdk")
    tenant.look(server)
    tenant.describe(server)
    tenant.act(server)
    tenant.visit(server)
    tenant.possess()
    operator.offer()
    operator.keep()
    operator.grant(server.project_id)
    operator.move(server.id)
    tenant.delete(server)
    print("told to the end")


if __name__ == "__main__":
    main()
