"""What is said of moves: parts of the values in ``values``, every field given."""

from kilonova.core.migration import Berth, Progress
from tests.unit.rpc.network_values import NIC

PROGRESS = Progress(
    memory_total=6,
    memory_processed=5,
    memory_remaining=4,
    disk_total=3,
    disk_processed=2,
    disk_remaining=1,
    downtime=7,
)
BERTH = Berth(
    address="192.0.2.1",
    port=49152,
    fingerprint="f" * 64,
    token="token",
    directory="/var/lib/kilonova/instances/one",
    hypervisor="/system",
    shared=True,
    wants_image=True,
    volumes={"7c1b1f5e-9a0b-4a3c-8f2e-1d2c3b4a5968": "/dev/sdq"},
    nics=(NIC,),
    place="<domain/>",
)
