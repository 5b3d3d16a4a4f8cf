"""What is said of shares: with no field left at its default."""

from kilonova.core import orders
from kilonova.core.ids import HostName, RequestId
from kilonova.core.share import Share, ShareReport, ShareStage

_ID = "33333333-3333-4333-8333-333333333333"

SHARE = Share(
    uuid="44444444-4444-4444-8444-444444444444",
    share_id=_ID,
    tag="data",
    protocol="NFS",
    export="192.0.2.1:/exports/data",
    stage=ShareStage.DETACHING,
    request_id=RequestId("req-55555555-5555-4555-8555-555555555555"),
    rules={HostName("host1"): "a"},
)
SHARE_REPORT = ShareReport(
    share_id=_ID, begins=ShareStage.ATTACHING, rule="a", stage=ShareStage.ATTACHED, gone=True
)
SHARE_ORDERS = (orders.AttachShare(share_id=_ID), orders.DetachShare(share_id=_ID))
