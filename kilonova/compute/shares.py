"""A host's hold on servers' shares: let in, mounted while a guest runs with them, and let go again.

One access rule lets a host in to a share, and one mount serves all guests of the host that have it; so what
the one leaves is given up only if no other needs it. Who does is known here from the cell's list of this
host's servers, and from what came and went since.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from kilonova.compute.driver import Driver, Guest
from kilonova.compute.reporter import Reporter
from kilonova.core import share as shares
from kilonova.core.context import service_context
from kilonova.core.errors import Invalid, KilonovaError, NotFound, ShareFailed, Unavailable
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import Instance
from kilonova.core.report import InstanceReport
from kilonova.core.share import Share, ShareReport, ShareStage
from kilonova.core.states import PowerState
from kilonova.http.shares import Access, Shares

LOG = logging.getLogger(__name__)

_LETS_IN = 60.0
"""Seconds that the share service gets to let a host in."""
_LOOKS = 0.5
_RUNS = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.SUSPENDED})


class HostShares:
    """What one host does with shares. Methods raise what ``Shares`` and ``Driver`` raise."""

    def __init__(
        self, host: HostName, collaborators: tuple[Driver, Shares], reporter: Reporter
    ) -> None:
        self._host = host
        self._driver, self._service = collaborators
        self._reporter = reporter
        self._stopped = threading.Event()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._owners: defaultdict[str, set[InstanceUuid]] = defaultdict(set)
        """By share, the servers of this host that have it."""
        self._users: defaultdict[str, set[InstanceUuid]] = defaultdict(set)
        """By share, those of them for whose guests it is mounted."""

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopped.set()

    def adopt(self, servers: Collection[Instance], guests: Mapping[InstanceUuid, Guest]) -> None:
        """Take note of who has shares here, as the service starts; what nobody needs is let go."""
        for server in servers:
            guest = guests.get(server.uuid)
            for share in server.shares:
                self._owners[share.share_id].add(server.uuid)
                if guest is not None and guest.power in _RUNS:
                    self._users[share.share_id].add(server.uuid)
        for share_id in sorted(self._driver.mounted_shares()):
            with _as_far_as_can_be(share_id), self._locks[share_id]:
                self._give_up(share_id)

    def let_in(self, instance: Instance, share: Share, request_id: RequestId) -> Access:
        """Have this host let in to a share of a server, and return how.

        Raises:
            ShareFailed: it is not let in.
        """
        wanted, known = self._wanted(share), share.rules.get(self._host, "")
        deadline = time.monotonic() + _LETS_IN
        with self._locks[share.share_id]:
            self._owners[share.share_id].add(instance.uuid)
            while True:
                found = self._service.access(share.share_id, wanted)
                # One that is being taken away is waited for until it is gone.
                access = found or self._service.allow(share.share_id, wanted)
                if access.rule_id != known:
                    said = ShareReport(share_id=share.share_id, rule=access.rule_id)
                    self.tell(instance.uuid, request_id, said)
                    known = access.rule_id
                if access.state == "active":
                    return access
                late = time.monotonic() > deadline
                if late or access.state == "error" or self._stopped.wait(_LOOKS):
                    raise ShareFailed(f"The host is not let in to share {share.share_id}.")

    def _wanted(self, share: Share) -> shares.AccessWanted:
        return shares.access_for(share, self._host, str(self._driver.connector()["ip"]))

    @contextmanager
    def mounted(self, instance: Instance, request_id: RequestId) -> Iterator[Instance]:
        """Have the shares of a server mounted here, and give the server with those that its guest gets.

        What was mounted for a guest that does not come to run is let go again.

        Raises:
            ShareFailed: one cannot be mounted.
        """
        if not instance.shares:
            yield instance
            return
        whole = msgspec.structs.replace(instance, shares=shares.staying(instance.shares))
        # What a guest that runs has stays its own, whatever becomes of the rest.
        here = self._driver.mounted_shares()
        fresh = tuple(
            share
            for share in whole.shares
            if share.share_id not in here or instance.uuid not in self._users[share.share_id]
        )
        try:
            for share in fresh:
                self._mount(whole, share, request_id)
            yield whole
        except KilonovaError:
            self.unmount(msgspec.structs.replace(whole, shares=fresh), request_id)
            raise

    def _mount(self, instance: Instance, share: Share, request_id: RequestId) -> None:
        """Have one share mounted here. One that failed before has not if it does not fail now."""
        try:
            access = self.let_in(instance, share, request_id)
            with self._locks[share.share_id]:
                self._users[share.share_id].add(instance.uuid)
                identity = self._wanted(share).to if share.protocol == shares.CEPHFS else ""
                self._driver.mount_share(share, identity, access.key)
        except KilonovaError as error:
            self._tell_stage(instance, share, request_id, ShareStage.ERROR)
            raise ShareFailed(f"Share {share.share_id} cannot be mounted.") from error
        if share.stage is ShareStage.ERROR:
            self._tell_stage(instance, share, request_id, ShareStage.ATTACHED)

    def unmount(self, instance: Instance, request_id: RequestId) -> None:
        """Note that a server's guest is off. What is not let go then is said of the share."""
        for share in instance.shares:
            try:
                with self._locks[share.share_id]:
                    self._unmount(share.share_id, instance.uuid)
            except KilonovaError as error:
                LOG.warning("%s: a share is not let go: %s", instance.uuid, error.in_full)
                self._tell_stage(instance, share, request_id, ShareStage.ERROR)

    def _unmount(self, share_id: str, uuid: InstanceUuid) -> None:
        self._users[share_id].discard(uuid)
        if not self._users[share_id]:
            self._driver.unmount_share(share_id)

    def uses(self, uuid: InstanceUuid) -> bool:
        """Whether anything is mounted for a server's guest."""
        return any(uuid in users for users in tuple(self._users.values()))

    def off(self, uuid: InstanceUuid) -> None:
        """Note that a guest went off by itself."""
        for share_id, users in tuple(self._users.items()):
            if uuid in users:
                with _as_far_as_can_be(share_id), self._locks[share_id]:
                    self._unmount(share_id, uuid)

    def let_go(self, instance: Instance, share: Share) -> None:
        """Have one share of a server here no more, nor let anybody in for it that no other needs."""
        with self._locks[share.share_id]:
            self._unmount(share.share_id, instance.uuid)
        self._let_out(instance, share)

    def _let_out(self, instance: Instance, share: Share) -> None:
        """Let nobody in to a share for a server any more."""
        with self._locks[share.share_id]:
            owners = self._owners[share.share_id]
            owners.discard(instance.uuid)
            for host, rule in share.rules.items():
                if host != self._host:
                    # Of a host that is dead, or the server would not be here.
                    self._service.deny(share.share_id, rule)
            if not owners:
                self._deny(share.share_id)

    def _deny(self, share_id: str) -> None:
        """Have this host let in to a share no more, however it was."""
        address = str(self._driver.connector()["ip"])
        for wanted in shares.all_access(self._host, address):
            try:
                access = self._service.access(share_id, wanted)
            except (NotFound, Invalid):
                # There is no such share any more.
                return
            if access is not None:
                self._service.deny(share_id, access.rule_id)

    def remove(self, instance: Instance, request_id: RequestId) -> None:
        """Let the shares go of a server that is deleted.

        Raises:
            SharesUnavailable: some are left.
        """
        self.unmount(instance, request_id)
        for share in instance.shares:
            try:
                self._let_out(instance, share)
            except Unavailable:
                raise
            except KilonovaError as error:
                LOG.warning("%s: a share is left: %s", instance.uuid, error.in_full)
            said = ShareReport(share_id=share.share_id, gone=True)
            self.tell(instance.uuid, request_id, said)

    def forget(self, uuid: InstanceUuid) -> None:
        """Let the shares go of a server that is elsewhere, as far as that can be done: it keeps them."""
        for share_id, owners in tuple(self._owners.items()):
            if uuid in owners:
                with _as_far_as_can_be(share_id), self._locks[share_id]:
                    owners.discard(uuid)
                    self._users[share_id].discard(uuid)
                    self._give_up(share_id)
                said = ShareReport(share_id=share_id, rule="")
                self.tell(uuid, service_context().request_id, said)

    def _give_up(self, share_id: str) -> None:
        """Give up what no server here needs of a share."""
        if not self._users[share_id]:
            self._driver.unmount_share(share_id)
        if not self._owners[share_id]:
            self._deny(share_id)

    def _tell_stage(
        self, instance: Instance, share: Share, request_id: RequestId, stage: ShareStage
    ) -> None:
        self.tell(instance.uuid, request_id, ShareReport(share_id=share.share_id, stage=stage))

    def tell(self, uuid: InstanceUuid, request_id: RequestId, said: ShareReport) -> bool:
        """Tell the cell of a share; False if it does not count any more."""
        report = InstanceReport(instance_uuid=uuid, epoch=0, request_id=request_id, share=said)
        return self._reporter.ask(report, self._stopped)


@contextmanager
def _as_far_as_can_be(share_id: str) -> Iterator[None]:
    """Let nothing stop because a share is not let go now: it is when its last server is."""
    try:
        yield
    except KilonovaError as error:
        LOG.warning("Share %s is not let go: %s", share_id, error.in_full)
