"""A whole deployment, every service a process of its own, as an operator would run it.

Configuration files lie in a directory; nothing of kilonova is imported, the commands alone are used.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.integration import services
from tests.integration.services.keystone import ADMIN, DEMO, OTHER, PROGRAMS, SERVICE
from tests.integration.services.process import NotReady, Process, answers, run
from tests.ports import free_port

COMMANDS = Path(sys.executable).parent
USERS = (ADMIN, DEMO, OTHER)

Sections = dict[str, dict[str, object]]
"""What a configuration file says: section -> option -> value."""


@dataclass(frozen=True)
class Host:
    """A compute host: its name, and what its configuration says beyond every host's.

    ``plays`` is the script of fake hosts. ``within`` is a command that runs the service where it belongs.
    """

    name: str
    sections: Sections
    plays: dict[str, object] = field(default_factory=dict)
    within: Sequence[str] = ()


def libvirt_host(name: str, uri: str, virt_type: str) -> Host:
    """Return a host that drives a libvirt daemon."""
    section = {"connection_uri": uri, "virt_type": virt_type}
    return Host(name, {"compute": {"driver": "libvirt"}, "libvirt": section})


def fake_hosts(name: str, count: int) -> Host:
    """Return a process that plays ``count`` hosts."""
    return Host(name, {"compute": {"driver": "fake"}}, {"hosts": count})


@dataclass
class Deployment:
    """kilonova on RabbitMQ and on a database server, behind a real Keystone or, with ``noauth2``, none."""

    name: str
    database: services.MariaDB | services.PostgreSQL
    hosts: Sequence[Host]
    auth_strategy: str = "keystone"
    settings: Sections = field(default_factory=dict)
    """Options for every service, over the deployment's own."""
    has_neutron: bool = False
    """Whether servers are plugged into ports of a real Neutron's."""
    has_cinder: bool = False
    """Whether servers may have volumes of a real Cinder's."""
    has_manila: bool = False
    """Whether servers may have shares of a real Manila's."""

    def __post_init__(self) -> None:
        self.directory = services.scratch() / self.name
        self.compute_port = free_port()
        self.placement_port = free_port()
        self.processes: dict[str, Process] = {}

    @property
    def compute_url(self) -> str:
        """Where the Compute API is."""
        return f"http://127.0.0.1:{self.compute_port}/v2.1"

    @property
    def placement_url(self) -> str:
        """Where Placement is."""
        return f"http://127.0.0.1:{self.placement_port}"

    def start(self) -> None:
        """Make the databases and the cell, start every service, and wait until each host is up.

        Raises:
            NotReady: a service ended, or was not ready in time; with the end of its log.
        """
        self.directory.mkdir()
        endpoints = {"image": services.glance().url, "placement": self.placement_url}
        if self.has_neutron:
            endpoints["network"] = services.neutron(self.name).url
        if self.has_cinder:
            endpoints["block-storage"] = services.cinder(self.name).url
        if self.has_manila:
            endpoints["shared-file-system"] = services.manila(self.name).url
        services.keystone().register(self.name, endpoints | {"compute": self.compute_url})
        if self.has_cinder:
            services.cinder(self.name).prepare()
        if self.has_manila:
            services.manila(self.name).prepare()
        write_sections(self.directory / "kilonova.conf", self._controller_sections())
        (self.directory / "clouds.yaml").write_text(json.dumps({"clouds": self._clouds()}))
        self.manage("db", "sync")
        self.manage("cell", "create", "--name", "cell1")
        for service in ("placement", "conductor", "scheduler", "api"):
            self.start_service(service)
        for host in self.hosts:
            self.start_host(host)
        for service in list(self.processes):
            self.wait_ready(service)
        self._wait_for_hosts()
        self.manage("cell", "discover-hosts")

    def start_service(self, service: str, host: str = "") -> Process:
        """Start ``kilonova-SERVICE``, or the compute service of a host; see ``wait_ready``."""
        name = host or service
        configuration = self.directory / f"{host or 'kilonova'}.conf"
        within = next((one.within for one in self.hosts if one.name == host), ())
        self.processes[name] = Process(
            f"kilonova-{service}",
            [*within, str(COMMANDS / f"kilonova-{service}"), "--config-file", str(configuration)],
            log=self.directory / f"{name}.log",
        )
        return self.processes[name]

    def start_host(self, host: Host, more: Sections | None = None) -> None:
        """Start a compute service; ``more`` is what its configuration says beside the deployment's."""
        script = self.directory / f"{host.name}.yaml"
        script.write_text(json.dumps(host.plays))
        own: Sections = {"fake": {"script": script}}
        sections = merged(self._host_sections(host), own, more or {})
        write_sections(self.directory / f"{host.name}.conf", sections)
        self.start_service("compute", host.name)

    def start_another(self, service: str, name: str) -> None:
        """Start one more process of a service, as on a machine of that name, and wait until it runs."""
        sections = merged(self._controller_sections(), {"DEFAULT": {"host": name}})
        configuration = self.directory / f"{name}.conf"
        write_sections(configuration, sections)
        self.processes[name] = Process(
            f"kilonova-{service}",
            [str(COMMANDS / f"kilonova-{service}"), "--config-file", str(configuration)],
            log=self.directory / f"{name}.log",
        )
        self.wait_ready(name)

    def wait_ready(self, name: str, seconds: float = 120) -> None:
        """Wait until a service answers, or says that it runs."""
        process = self.processes[name]
        if name == "placement":
            process.wait_ready(lambda: answers(self.placement_url), seconds)
        elif name == "api":
            process.wait_ready(lambda: answers(self.compute_url), seconds)
        else:
            process.wait_ready(lambda: f"{process.name} runs" in process.log.read_text(), seconds)

    def stop(self) -> dict[str, int]:
        """Stop every service; return their exit statuses by name."""
        return {name: self.processes.pop(name).stop() for name in reversed(list(self.processes))}

    def manage(self, *arguments: str) -> str:
        """Run ``kilonova-manage`` and return what it prints."""
        configuration = str(self.directory / "kilonova.conf")
        command = [str(COMMANDS / "kilonova-manage"), "--config-file", configuration]
        return run([*command, *arguments])

    def openstack(self, *arguments: str, user: str = ADMIN, seconds: float = 120) -> str:
        """Run the ``openstack`` client as a user and return what it prints.

        Raises:
            CommandFailed: it exited with something other than 0.
        """
        environment = {
            "OS_CLIENT_CONFIG_FILE": str(self.directory / "clouds.yaml"),
            "OS_CLOUD": user,
        }
        return run([str(PROGRAMS / "openstack"), *arguments], env=environment, seconds=seconds)

    def openstack_json(self, *arguments: str, user: str = ADMIN) -> Any:
        """Run the ``openstack`` client and return what it prints as JSON."""
        return json.loads(self.openstack(*arguments, "-f", "json", user=user))

    def token(self, user: str = ADMIN) -> str:
        """Return a token with which a user may ask the APIs."""
        if self.auth_strategy == "noauth2":
            return user
        token = services.keystone().session(user).get_token()
        return token or ""

    def logs(self) -> dict[str, str]:
        """Return the end of every service's log, by the service's name."""
        return {name: process.tail(60) for name, process in self.processes.items()}

    def _wait_for_hosts(self, seconds: float = 120) -> None:
        expected = sum(int(str(host.plays.get("hosts", 1))) for host in self.hosts)
        headers = {"X-Auth-Token": self.token()}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = requests.get(f"{self.compute_url}/os-services", headers=headers, timeout=60)
            states = [service["state"] for service in answer.json().get("services", [])]
            if states.count("up") >= expected:
                return
            time.sleep(0.1)
        tails = "\n".join(self.processes[host.name].tail() for host in self.hosts)
        raise NotReady(f"{expected} hosts should be up; services are {states}.\n{tails}")

    def _common_sections(self) -> Sections:
        identity = {"region_name": self.name, "valid_interfaces": "internal"}
        credentials = services.keystone().credentials(SERVICE)
        service_auth = {"auth_type": "password", **credentials}
        placement: dict[str, object] = {**service_auth, **identity}
        if self.auth_strategy == "noauth2":
            endpoint = self.placement_url
            placement = {"auth_type": "admin_token", "endpoint": endpoint, "token": ADMIN}
        provider = "neutron" if self.has_neutron else "none"
        storage = {"cinder": self.has_cinder, "manila": self.has_manila}
        kept: Sections = {
            name: {**service_auth, **identity} for name, there in storage.items() if there
        }
        return kept | {
            "DEFAULT": {
                "transport_url": services.rabbitmq().transport_url(self.name),
                "report_interval": 2,
            },
            "placement": placement,
            "glance": {**service_auth, **identity},
            "neutron": {**service_auth, **identity},
            "network": {"provider": provider},
        }

    def _controller_sections(self) -> Sections:
        authtoken = {
            "www_authenticate_uri": services.keystone().auth_url,
            "auth_type": "password",
            **services.keystone().credentials(SERVICE),
        }
        sections: Sections = {
            "DEFAULT": {"state_path": self.directory / "state"},
            "api": {"auth_strategy": self.auth_strategy},
            "compute_api": {"bind_port": self.compute_port},
            "placement_api": {"bind_port": self.placement_port},
            "api_database": {"connection": self.database.url(f"{self.name}_api")},
            "database": {"connection": self.database.url(f"{self.name}_cell1")},
            "placement_database": {"connection": self.database.url(f"{self.name}_placement")},
            "keystone_authtoken": authtoken,
            "quota": {"instances": -1, "cores": -1, "ram": -1},
        }
        return merged(self._common_sections(), sections, self.settings)

    def _host_sections(self, host: Host) -> Sections:
        own: Sections = {
            "DEFAULT": {"host": host.name, "state_path": self.directory / f"{host.name}-state"}
        }
        return merged(self._common_sections(), own, host.sections, self.settings)

    def _clouds(self) -> dict[str, object]:
        if self.auth_strategy == "noauth2":
            auth = {"endpoint": self.compute_url, "token": ADMIN}
            version = {"identity_api_version": "3"}
            return {ADMIN: {"auth_type": "admin_token", "auth": auth, **version}}
        return {
            user: {"region_name": self.name, "auth": services.keystone().credentials(user)}
            for user in USERS
        }


def merged(*all_sections: Mapping[str, Mapping[str, object]]) -> Sections:
    """Return sections with the options of all; the last word on an option holds."""
    result: Sections = {}
    for sections in all_sections:
        for name, options in sections.items():
            result.setdefault(name, {}).update(options)
    return result


def write_sections(path: Path, sections: Sections) -> None:
    """Write a configuration file that its owner alone can read: it holds passwords."""
    lines = [
        line
        for name, options in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in options.items()))
    ]
    path.touch(mode=0o600)
    os.chmod(path, 0o600)
    path.write_text("\n".join(lines) + "\n")
