"""Images: what a server's root disk starts as."""

import msgspec

from kilonova.core.ids import ImageId


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What the Image API says of an image.

    ``size`` is bytes, ``min_ram`` MiB, ``min_disk`` GiB; ``properties`` holds the free-form ``hw_*``,
    ``img_*`` and ``os_*`` values as strings.
    """

    image_id: ImageId
    name: str = ""
    status: str = "active"
    size: int = 0
    virtual_size: int = 0
    min_ram: int = 0
    min_disk: int = 0
    disk_format: str = "qcow2"
    container_format: str = "bare"
    checksum: str = ""
    hash_algo: str = ""
    hash_value: str = ""
    owner: str = ""
    visibility: str = ""
    properties: dict[str, str] = {}
