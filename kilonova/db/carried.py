"""What servers carry with them, as a cell's database holds it: cards, volumes and shares.

Each kind stands whole in its server's row; volumes and shares have a row each beside it, by which they are
found.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kilonova.core.instance import Instance, Nic
from kilonova.core.share import Share
from kilonova.core.volume import Volume

_encode = msgspec.json.Encoder().encode
_decode_nics = msgspec.json.Decoder(tuple[Nic, ...]).decode
_decode_volumes = msgspec.json.Decoder(tuple[Volume, ...]).decode
_decode_shares = msgspec.json.Decoder(tuple[Share, ...]).decode


def encode_nics(nics: Sequence[Nic]) -> bytes | None:
    """Return network cards as their column holds them."""
    return _encode(nics) if nics else None


def encode_volumes(volumes: Sequence[Volume]) -> bytes | None:
    """Return volumes as their column holds them: without what tells how to reach them."""
    kept = [msgspec.structs.replace(v, connection=None) if v.connection else v for v in volumes]
    return _encode(kept) if kept else None


def encode_shares(shares: Sequence[Share]) -> bytes | None:
    """Return shares as their column holds them."""
    return _encode(shares) if shares else None


def nics_of(column: bytes | None) -> tuple[Nic, ...]:
    """Return the network cards in a column."""
    return _decode_nics(column) if column else ()


def volumes_of(column: bytes | None) -> tuple[Volume, ...]:
    """Return the volumes in a column."""
    return _decode_volumes(column) if column else ()


def shares_of(column: bytes | None) -> tuple[Share, ...]:
    """Return the shares in a column."""
    return _decode_shares(column) if column else ()


def volume_rows(instances: Sequence[Instance]) -> list[dict[str, Any]]:
    """Return the rows of servers' volumes, by which they are found."""
    return [
        {
            "instance_uuid": instance.uuid,
            "volume_id": volume.volume_id,
            "stage": volume.stage,
            "changed_at": instance.updated_at or instance.created_at,
        }
        for instance in instances
        for volume in instance.volumes
    ]


def share_rows(instance: Instance) -> list[dict[str, Any]]:
    """Return the rows of a server's shares, by which they are found."""
    return [
        {
            "instance_uuid": instance.uuid,
            "share_id": share.share_id,
            "tag": share.tag,
            "stage": share.stage,
            "changed_at": instance.updated_at or instance.created_at,
        }
        for share in instance.shares
    ]
