"""What is said of disks and volumes: with no field left at its default."""

from kilonova.core import orders
from kilonova.core.ids import HostName, RequestId
from kilonova.core.instance import BlockDevice
from kilonova.core.volume import Volume, VolumeReport, VolumeStage

_ID = "22222222-2222-4222-8222-222222222222"
_OTHER = "11111111-1111-4111-8111-111111111111"

DEVICE = BlockDevice(
    source_type="image",
    destination_type="volume",
    boot_index=0,
    uuid="77777777-7777-4777-8777-777777777777",
    volume_size=10,
    delete_on_termination=True,
    device_name="/dev/vda",
    disk_bus="virtio",
    device_type="disk",
    guest_format="ext4",
    tag="root",
    volume_type="fast",
)
VOLUME = Volume(
    volume_id=_ID,
    device="/dev/vdb",
    boot_index=1,
    bus="virtio",
    kind="lun",
    tag="data",
    delete_on_termination=True,
    multiattach=True,
    size_gb=5,
    stage=VolumeStage.SWAPPING,
    request_id=RequestId("req-55555555-5555-4555-8555-555555555555"),
    attachments={HostName("host1"): _ID},
    replacement=_OTHER,
    connection={"driver_volume_type": "rbd"},
)
VOLUME_REPORT = VolumeReport(
    volume_id=_ID,
    begins=VolumeStage.ATTACHING,
    attachment="a",
    reserved="b",
    stage=VolumeStage.ATTACHED,
    gone=True,
    replaced_by=_OTHER,
    size_gb=6,
)
VOLUME_ORDERS = (
    orders.AttachVolume(volume_id=_ID),
    orders.DetachVolume(volume_id=_ID),
    orders.SwapVolume(volume_id=_ID),
    orders.ExtendVolume(volume_id=_ID),
    orders.SnapshotVolume(volume_id=_ID, snapshot_id=_OTHER, new_file="f"),
    orders.MergeSnapshot(volume_id=_ID, snapshot_id=_OTHER, file_to_merge="f", target_file="g"),
)
