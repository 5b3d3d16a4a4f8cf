"""The cloud that Tempest asks: pretended hosts behind a real Keystone, Glance and Neutron, and Cinder
where volumes are asked for; and what Tempest is told of it.

Hosts run no guest, so nothing here is asked over ssh. All else that Tempest can be told is there, is.
"""

from pathlib import Path
from typing import Any

import requests

from tests.integration import services
from tests.integration.deployment import Deployment, Sections, fake_hosts, merged, write_sections
from tests.integration.services.keystone import ADMIN, PASSWORD

HOSTS, USED = 3, 2
"""Tempest's tests of affinity want two hosts, and leave any other disabled for good."""

OLDEST, NEWEST = "2.1", "2.100"
"""Microversions. The newest is that of which Tempest knows what is answered: from 2.101 on a volume is
attached later, and an empty answer is none to it."""

FILTERS = (
    "ComputeFilter",
    "AvailabilityZoneFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
    "DifferentHostFilter",
    "SameHostFilter",
)


def describe(*, has_volumes: bool = False) -> Deployment:
    """Return the deployment, not yet started."""
    settings: Sections = {
        "filter_scheduler": {"enabled_filters": ",".join(FILTERS)},
        # Some tests look for what is over its limit.
        "quota": {"instances": 1000, "cores": 1000, "ram": 1_000_000},
    }
    return Deployment(
        "tempest",
        services.mariadb(),
        [fake_hosts("fake", HOSTS)],
        settings=settings,
        has_neutron=True,
        has_cinder=has_volumes,
    )


class Operator:
    """Who makes what every cloud has: flavors, images, a network to the world."""

    def __init__(self, deployment: Deployment) -> None:
        self._compute = deployment.compute_url
        self._image = f"{services.glance().url}/v2"
        self._network = f"{services.neutron(deployment.name).url}/v2.0"
        self._headers = {"X-Auth-Token": deployment.token()}

    def add_flavor(self, name: str, size: int) -> str:
        """Make a flavor of so many VCPUs, GiB of disk and 64 MiB of memory; return its id."""
        flavor = {"name": name, "ram": 64 * size, "vcpus": size, "disk": size}
        return self._made(f"{self._compute}/flavors", {"flavor": flavor})["flavor"]["id"]

    def add_image(self, name: str) -> str:
        """Make an image that everybody may use, and return its id."""
        bare = {"disk_format": "raw", "container_format": "bare"}
        image = {"name": name, "visibility": "public"} | bare
        made = self._made(f"{self._image}/images", image)["id"]
        requests.put(
            f"{self._image}/images/{made}/file",
            data=b"pretended hosts run no guest, and never read this",
            headers=self._headers | {"Content-Type": "application/octet-stream"},
            timeout=60,
        ).raise_for_status()
        return made

    def add_network(self) -> str:
        """Make a network to the world, and what a tenant's first network is made from; return its id."""
        public = {"name": "public", "router:external": True, "is_default": True}
        made = self._made(f"{self._network}/networks", {"network": public})["network"]["id"]
        subnet = {"network_id": made, "ip_version": 4, "cidr": "203.0.113.0/24"}
        self._made(f"{self._network}/subnets", {"subnet": subnet | {"enable_dhcp": False}})
        pool = {"name": "tenants", "prefixes": ["10.200.0.0/16"], "default_prefixlen": 26}
        pool |= {"shared": True, "is_default": True}
        self._made(f"{self._network}/subnetpools", {"subnetpool": pool})
        return made

    def network_extensions(self) -> str:
        """Return what Neutron can do here, as Tempest is told it."""
        answer = requests.get(f"{self._network}/extensions", headers=self._headers, timeout=60)
        return ",".join(extension["alias"] for extension in answer.json()["extensions"])

    def _made(self, url: str, body: dict[str, Any]) -> Any:
        answer = requests.post(url, json=body, headers=self._headers, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"POST {url}: {answer.status_code} {answer.text}")
        return answer.json()


def prepare(deployment: Deployment, least: str = OLDEST) -> Path:
    """Make what every cloud has, and return Tempest's configuration file, alone in its directory.

    Nothing is asked at a microversion before ``least``.
    """
    operator = Operator(deployment)
    directory = deployment.directory / "workspace"
    directory.mkdir()
    configuration = directory / "tempest.conf"
    told = merged(
        sections(deployment, operator, directory), {"compute": {"min_microversion": least}}
    )
    write_sections(configuration, told)
    return configuration


def sections(deployment: Deployment, operator: Operator, directory: Path) -> Sections:
    """Return Tempest's configuration."""
    return {
        "DEFAULT": {"log_file": directory / "tempest.log", "debug": True},
        "oslo_concurrency": {"lock_path": directory},
        "auth": {
            "use_dynamic_credentials": True,
            "admin_username": ADMIN,
            "admin_password": PASSWORD,
            "admin_project_name": ADMIN,
            "admin_domain_name": "Default",
            "tempest_roles": "member",
        },
        "identity": {
            "auth_version": "v3",
            "uri_v3": services.keystone().auth_url,
            "region": deployment.name,
        },
        "enforce_scope": {"nova": True, "neutron": True, "glance": True, "placement": True},
        "service_available": {
            "nova": True,
            "glance": True,
            "neutron": True,
            "placement": True,
            "cinder": deployment.has_cinder,
            "swift": False,
            "horizon": False,
        },
        "compute": {
            "flavor_ref": operator.add_flavor("small", 1),
            "flavor_ref_alt": operator.add_flavor("larger", 2),
            "image_ref": operator.add_image("first"),
            "image_ref_alt": operator.add_image("second"),
            "min_compute_nodes": USED,
            "max_microversion": "latest",
            "hypervisor_type": "fake",
            "build_timeout": 120,
        },
        "volume": {"min_microversion": "3.0", "max_microversion": "latest", "volume_size": 1},
        "volume-feature-enabled": {"backup": False, "extend_attached_volume": True},
        "placement": {"min_microversion": "1.0", "max_microversion": "latest"},
        "compute-feature-enabled": _features(),
        "validation": {"run_validation": False},
        "network": {"public_network_id": operator.add_network()},
        "network-feature-enabled": {"api_extensions": operator.network_extensions()},
    }


def _features() -> dict[str, object]:
    on = (
        *("resize", "pause", "suspend", "shelve", "shelve_migrate", "rescue", "stable_rescue"),
        *("cold_migration", "live_migration", "live_migrate_back_and_forth"),
        *("block_migration_for_live_migration", "can_migrate_between_any_hosts"),
        *("vnc_console", "spice_console", "serial_console", "console_output"),
        *("change_password", "enable_instance_password", "personality", "config_drive"),
        *("interface_attach", "snapshot", "hostname_fqdn_sanitization", "disk_config"),
    )
    return {
        **dict.fromkeys(on, True),
        "dhcp_domain": "",
        "nova_policy_roles": "admin,manager,member,reader",
        "scheduler_enabled_filters": ",".join(FILTERS),
    }
