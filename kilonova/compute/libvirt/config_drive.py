"""The config drive: a small disk from which a guest reads what its owner told of it."""

import json
import secrets
from collections.abc import Sequence
from io import BytesIO

import pycdlib

from kilonova.core.instance import Instance, Nic
from kilonova.core.tagged_devices import Placed
from kilonova.http.metadata import ec2, openstack
from kilonova.http.metadata.openstack import Told

_LABEL = "config-2"
_SEED = 512
_EC2_VERSIONS = ("2009-04-04", "latest")


def config_drive(
    instance: Instance, nics: Sequence[Nic], placed: Sequence[Placed] | None = None
) -> bytes:
    """Return the ISO 9660 image that a guest reads its metadata from (label config-2).

    Its names are in Rock Ridge for Unix, and in Joliet for Windows.
    """
    told = Told(
        instance=instance,
        nics=tuple(nics),
        seed=secrets.token_bytes(_SEED),
        placed=None if placed is None else tuple(placed),
    )
    return image(files(told))


def files(told: Told) -> dict[str, bytes]:
    """Return the files of a config drive by their paths, those of a directory together. Pure."""
    found = {}
    for version in openstack.VERSIONS:
        for name, document in openstack.documents(told, version).items():
            found[f"openstack/{version}/{name}"] = document()
    for name, data in openstack.contents(told).items():
        found[f"openstack/content/{name}"] = data
    values = ec2.tree(told)
    for version in _EC2_VERSIONS:
        found[f"ec2/{version}/meta-data.json"] = json.dumps(values["meta-data"]).encode()
        if "user-data" in values:
            found[f"ec2/{version}/user-data"] = values["user-data"]
    return found


def image(found: dict[str, bytes]) -> bytes:
    """Return an ISO 9660 image with files by their paths. Equal files take their room once. Pure."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=4, rock_ridge="1.09", joliet=3, vol_ident=_LABEL)
    directories: set[str] = set()
    written: dict[bytes, str] = {}
    for path, data in found.items():
        _make_directories(iso, path, directories)
        plain = f"/{path.upper()};1"
        name = path.rpartition("/")[2]
        first = written.setdefault(data, plain)
        if first == plain:
            iso.add_fp(BytesIO(data), len(data), plain, rr_name=name, joliet_path=f"/{path}")
        else:
            iso.add_hard_link(iso_old_path=first, iso_new_path=plain, rr_name=name)
            iso.add_hard_link(iso_old_path=first, joliet_new_path=f"/{path}")
    made = BytesIO()
    iso.write_fp(made)
    iso.close()
    return made.getvalue()


def _make_directories(iso: pycdlib.PyCdlib, path: str, made: set[str]) -> None:
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        directory = "/" + "/".join(parts[:depth])
        if directory not in made:
            made.add(directory)
            iso.add_directory(directory.upper(), rr_name=parts[depth - 1], joliet_path=directory)
