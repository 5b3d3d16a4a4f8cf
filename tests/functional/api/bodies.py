"""One good body for every route that takes one, and for every action."""

from typing import Any

from tests.functional.api.population import ACTIVE, IMAGE, PUBLIC_KEY, VOLUME

_FLAVOR = {"name": "new", "id": "new", "ram": 1, "vcpus": 1, "disk": 1, "description": "d"}
_SERVER = "/servers/{server_id}"
_QUOTA = {"cores": 30, "key_pairs": 5}


def server(image: str) -> dict[str, Any]:
    """Return what makes a server, with everything that needs no host."""
    return {
        "server": {
            "name": "new",
            "flavorRef": "1",
            "imageRef": image,
            "networks": "none",
            "description": "d",
            "metadata": {"a": "b"},
            "tags": ["t"],
            "user_data": "aGVsbG8=",
            "min_count": 1,
            "max_count": 1,
            "config_drive": True,
            "hostname": "web",
            "availability_zone": "z1",
            "block_device_mapping_v2": [
                {
                    "uuid": image,
                    "boot_index": 0,
                    "source_type": "image",
                    "destination_type": "local",
                    "delete_on_termination": True,
                }
            ],
        },
        "OS-SCH-HNT:scheduler_hints": {"k": "v"},
    }


BODIES: dict[str, Any] = {
    f"PUT {_SERVER}": {"server": {"name": "renamed"}},
    f"POST {_SERVER}/metadata": {"metadata": {"a": "b"}},
    f"PUT {_SERVER}/metadata": {"metadata": {"a": "b"}},
    f"PUT {_SERVER}/metadata/{{key}}": {"meta": {"colour": "red"}},
    f"PUT {_SERVER}/tags": {"tags": ["blue"]},
    f"PUT {_SERVER}/tags/{{tag}}": None,
    "POST /flavors": {"flavor": _FLAVOR},
    "PUT /flavors/{flavor_id}": {"flavor": {"description": "new"}},
    "POST /flavors/{flavor_id}/os-extra_specs": {"extra_specs": {"hw:cpu_policy": "dedicated"}},
    "PUT /flavors/{flavor_id}/os-extra_specs/{key}": {"hw:cpu_policy": "dedicated"},
    "POST /os-keypairs": {"keypair": {"name": "new", "type": "ssh", "public_key": PUBLIC_KEY}},
    "POST /os-server-groups": {
        "server_group": {
            "name": "new",
            "policy": "anti-affinity",
            "rules": {"max_server_per_host": "3"},
        }
    },
    "PUT /os-quota-sets/{project_id}": {"quota_set": _QUOTA | {"force": True}},
    "PUT /os-quota-class-sets/{name}": {"quota_class_set": _QUOTA},
    "POST /os-aggregates": {"aggregate": {"name": "new", "availability_zone": "z9"}},
    "PUT /os-aggregates/{aggregate_id}": {"aggregate": {"name": "renamed"}},
    "POST /os-aggregates/{aggregate_id}/images": {"cache": [{"id": IMAGE.image_id}]},
    f"POST {_SERVER}/os-interface": {
        "interfaceAttachment": {
            "net_id": IMAGE.image_id,
            "fixed_ips": [{"ip_address": "192.0.2.9"}],
            "tag": "t",
        }
    },
    f"POST {_SERVER}/shares": {"share": {"share_id": IMAGE.image_id, "tag": "t"}},
    f"POST {_SERVER}/remote-consoles": {"remote_console": {"protocol": "vnc", "type": "novnc"}},
    "POST /os-server-external-events": {
        "events": [
            {"name": "network-changed", "server_uuid": ACTIVE, "tag": "t", "status": "completed"}
        ]
    },
    "POST /os-assisted-volume-snapshots": {
        "snapshot": {
            "volume_id": VOLUME,
            "create_info": {
                "snapshot_id": IMAGE.image_id,
                "type": "qcow2",
                "new_file": "f",
                "id": "i",
            },
        }
    },
    f"POST {_SERVER}/os-volume_attachments": {
        "volumeAttachment": {"volumeId": IMAGE.image_id, "device": "/dev/vdz", "tag": "t"}
    },
    f"PUT {_SERVER}/os-volume_attachments/{{volume_id}}": {
        "volumeAttachment": {"volumeId": VOLUME, "delete_on_termination": True}
    },
    "PUT /os-hosts/{host}": {"status": "enable"},
    "PUT /os-services/{service_id}": {"status": "disabled", "disabled_reason": "r"},
}
"""Method and path -> a body. ``server`` makes that of ``POST /servers``."""

ACTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    f"{_SERVER}/action": (
        {"os-stop": None},
        {"os-start": None},
        {"reboot": {"type": "SOFT"}},
        {"pause": None},
        {"unpause": None},
        {"suspend": None},
        {"resume": None},
        {"rescue": {"adminPass": "secret", "rescue_image_ref": IMAGE.image_id}},
        {"unrescue": None},
        {
            "rebuild": {
                "imageRef": IMAGE.image_id,
                "adminPass": "secret",
                "name": "again",
                "description": "d",
                "metadata": {"a": "b"},
                "preserve_ephemeral": True,
                "accessIPv4": "192.0.2.1",
                "key_name": None,
                "user_data": "aGVsbG8=",
                "trusted_image_certificates": None,
                "hostname": "again",
            }
        },
        {"createImage": {"name": "copy", "metadata": {"a": "b"}}},
        {
            "createBackup": {
                "name": "copy",
                "backup_type": "daily",
                "rotation": 1,
                "metadata": {"a": "b"},
            }
        },
        {"changePassword": {"adminPass": "secret"}},
        {"trigger_crash_dump": None},
        {"os-resetState": {"state": "active"}},
        {"restore": None},
        {"addSecurityGroup": {"name": "web"}},
        {"removeSecurityGroup": {"name": "web"}},
        {"injectNetworkInfo": None},
        {"resetNetwork": None},
        {"lock": {"locked_reason": "r"}},
        {"unlock": None},
        {"os-getConsoleOutput": {"length": 5}},
        {"resize": {"flavorRef": "2"}},
        {"confirmResize": None},
        {"revertResize": None},
        {"migrate": {"host": "h2"}},
        {"os-migrateLive": {"host": "h2", "block_migration": "auto"}},
        {"evacuate": {"host": "h2"}},
        {"shelve": None},
        {"shelveOffload": None},
        {"unshelve": {"availability_zone": "z1", "host": "h2"}},
        # The last, as nothing is left to act on.
        {"forceDelete": None},
    ),
    f"{_SERVER}/migrations/{{migration_id}}/action": ({"force_complete": None},),
    "/flavors/{flavor_id}/action": (
        {"addTenantAccess": {"tenant": "project-c"}},
        {"removeTenantAccess": {"tenant": "project-a"}},
    ),
    "/os-aggregates/{aggregate_id}/action": (
        {"set_metadata": {"metadata": {"ssd": "true"}}},
        {"add_host": {"host": "h2"}},
        {"remove_host": {"host": "h1"}},
    ),
}
"""Path of actions -> a body of each that there still is at the newest microversion."""

OLD_ACTIONS: tuple[dict[str, Any], ...] = (
    {"os-getVNCConsole": {"type": "novnc"}},
    {"os-getSPICEConsole": {"type": "spice-html5"}},
    {"os-getSerialConsole": {"type": "serial"}},
    {"addFixedIp": {"networkId": "n"}},
    {"removeFixedIp": {"address": "192.0.2.9"}},
    {"addFloatingIp": {"address": "198.51.100.9"}},
    {"removeFloatingIp": {"address": "198.51.100.9"}},
    {"os-getRDPConsole": {"type": "rdp-html5"}},
)
"""Actions of servers that end at 2.5 or, those of addresses, at 2.43."""
