"""Shares that come to a guest, or go from it, while it is off. Each may be told twice."""

import contextlib
import logging
from collections.abc import Callable

import msgspec

from kilonova.compute.jobs import Job
from kilonova.core.errors import BuildFailed, KilonovaError, NotFound, Unavailable
from kilonova.core.share import Share, ShareReport, ShareStage, staying

LOG = logging.getLogger(__name__)


def due(stage: ShareStage) -> Callable[[Job], bool]:
    """Return what tells whether an order's share is still to be brought on from a stage."""
    return lambda job: _tell(job, ShareReport(share_id=job.order.share_id, begins=stage))


def _tell(job: Job, said: ShareReport) -> bool:
    return job.shares.tell(job.instance.uuid, job.request_id, said)


def _share(job: Job) -> Share:
    for share in job.instance.shares:
        if share.share_id == job.order.share_id:
            return share
    raise BuildFailed(f"Share {job.order.share_id} is none of the server's.")


def _give(job: Job) -> None:
    whole = msgspec.structs.replace(job.instance, shares=staying(job.instance.shares))
    job.driver.give_shares(whole)


def attach(job: Job) -> None:
    """Have the host let in to a share, and the guest start with it from now on."""
    share = _share(job)
    begun = ShareReport(share_id=share.share_id, begins=ShareStage.ATTACHING)
    try:
        job.shares.let_in(job.instance, share, job.request_id)
        _give(job)
    except KilonovaError:
        _tell(job, msgspec.structs.replace(begun, stage=ShareStage.ERROR))
        raise
    _tell(job, msgspec.structs.replace(begun, stage=ShareStage.ATTACHED))


def detach(job: Job) -> None:
    """Take a share from the guest, and let nobody in for it. What does not answer is asked again later."""
    share = _share(job)
    try:
        with contextlib.suppress(NotFound):
            _give(job)
        job.shares.let_go(job.instance, share)
    except Unavailable:
        raise
    except KilonovaError:
        begun = ShareReport(share_id=share.share_id, begins=ShareStage.DETACHING)
        _tell(job, msgspec.structs.replace(begun, stage=ShareStage.ERROR))
        raise
    _tell(job, ShareReport(share_id=share.share_id, gone=True))
