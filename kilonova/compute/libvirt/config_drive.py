"""The config drive: a small disk from which a guest reads what its owner told of it. A pure function."""

import base64
import json
from io import BytesIO

import pycdlib

from kilonova.core.instance import Instance


def config_drive(instance: Instance) -> bytes:
    """Return the ISO 9660 image that a guest reads its metadata from (label config-2)."""
    wishes = instance.wishes
    metadata: dict[str, object] = {
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": instance.hostname,
        "project_id": instance.project_id,
        "launch_index": wishes.launch_index,
        "availability_zone": instance.availability_zone,
        "meta": instance.metadata,
    }
    if wishes.key_pair is not None:
        metadata["public_keys"] = {wishes.key_pair.name: wishes.key_pair.public_key}
    files = {"META_DATA.JSON": json.dumps(metadata).encode()}
    if wishes.user_data:
        files["USER_DATA"] = base64.b64decode(wishes.user_data)
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=4, rock_ridge="1.09", vol_ident="config-2")
    for path in ("/OPENSTACK", "/OPENSTACK/LATEST"):
        iso.add_directory(path, rr_name=path.rpartition("/")[2].lower())
    for name, data in files.items():
        path = f"/OPENSTACK/LATEST/{name};1"
        iso.add_fp(BytesIO(data), len(data), path, rr_name=name.lower())
    written = BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()
