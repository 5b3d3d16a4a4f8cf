"""One live migration, at its source: libvirt here leads the guest's memory and disks to libvirt there.

Whatever fails, it is found out where the guest is before anything is said: it runs on exactly one host.
"""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libvirt

from kilonova.compute.crossing.harbour import LOOPBACK
from kilonova.compute.crossing.line import DOORSTEP, Line
from kilonova.compute.libvirt import domains, live_copy, moved_xml, whereabouts
from kilonova.compute.libvirt.carried import IMAGE, Carried
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.disks import Disks
from kilonova.compute.libvirt.whereabouts import State, Where
from kilonova.compute.moving import Voyage
from kilonova.core.errors import (
    BuildFailed,
    HypervisorUnavailable,
    KilonovaError,
    MoveCancelled,
    NotFound,
)
from kilonova.core.migration import Migration, Progress
from kilonova.core.states import VmState

LOG = logging.getLogger(__name__)

_LOOKS = 0.25
"""Seconds between two looks at how far it is."""
_PAUSE = 1.0
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
)
_XML = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
_POST_COPY = libvirt.VIR_MIGRATE_POSTCOPY
_AGAIN = _POST_COPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
_GIVES_UP = 60.0
"""Seconds for which the halves of a guest are brought together in vain before who aborts it is heard."""
_SECONDS_PER_GIB = 800.0
"""How long a guest may take for each GiB of its memory and disks before post-copy hurries it."""


class LiveMove:
    """Moves one guest. ``closing`` is set when the service ends: the guest stays, then.

    With ``post_copy`` a guest that is hurried, or takes too long, goes on at its destination before all of
    its memory is there. It cannot stay any more then.
    """

    def __init__(
        self,
        migration: Migration,
        here: tuple[Connection, Disks, Carried],
        line: Line,
        closing: threading.Event,
        *,
        post_copy: bool = False,
    ) -> None:
        if migration.berth is None:
            raise BuildFailed("The destination is not prepared.")
        self._migration = migration
        self._uuid = migration.instance_uuid
        self._berth = migration.berth
        self._local, self._disks, self._carried = here
        self._line = line
        self._closing = closing
        self._post_copy = post_copy
        self._hurried = False
        self._sent = False
        """Whether anything of it is on its way."""

    def run(self, voyage: Voyage) -> Progress:
        """Move it, and return what was moved.

        Raises:
            MoveCancelled, BuildFailed: it is here and is as it was.
            HypervisorUnavailable: the service ends, and nobody knows yet where it is.
        """
        with self._line.hypervisor() as socket:
            uri = f"qemu+unix://{self._berth.hypervisor}?socket={quote(str(socket))}"
            there = Connection(uri)
            try:
                return self._move(there, voyage)
            finally:
                there.close()

    def _move(self, there: Connection, voyage: Voyage) -> Progress:
        if self._is_there(there, voyage):
            # An earlier attempt brought it there, and its end was not noted.
            return Progress()
        try:
            parameters = self._prepare(there)
            self._migrate(there, parameters, voyage)
        except KilonovaError as error:
            if self._is_there(there, voyage):
                return self._figures(there)
            self._wake()
            if voyage.aborted:
                raise MoveCancelled("The migration was aborted.") from error
            raise BuildFailed(_sentence(error)) from error
        return self._figures(there)

    # ---- before

    def _prepare(self, there: Connection) -> dict[str, Any]:
        """Have all there that the guest will need, and return libvirt's parameters.

        Raises:
            BuildFailed: it cannot go there.
        """

        def look(connection: Any) -> tuple[str, str]:
            domain = connection.lookupByUUIDString(self._uuid)
            if not domain.isActive():
                raise BuildFailed("The server does not run.")
            live_copy.end_left(domain)
            if domains.is_stuck(domain):
                raise BuildFailed(
                    "A copy of the server's disk was interrupted. Reboot it hard, and it can move."
                )
            return domain.XMLDesc(_XML), domain.XMLDesc(_XML | libvirt.VIR_DOMAIN_XML_INACTIVE)

        live, defined = self._local.use(look)
        there.use(lambda connection: _check_cpu(connection, live))
        old = str(self._disks.directory(self._uuid))
        memory, disks = self._line.ports(2)
        parameters = {
            **_way_in(memory),
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: moved_xml.moved(live, old, self._berth),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: moved_xml.moved(defined, old, self._berth),
        }
        if not self._berth.shared:
            moving = moved_xml.moving_disks(live, old)
            self._prepare_disks(live, moving)
            if moving:
                parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [d.target for d in moving]
                parameters[libvirt.VIR_MIGRATE_PARAM_DISKS_PORT] = disks
        return parameters

    def _prepare_disks(self, xml: str, moving: tuple[moved_xml.MovedDisk, ...]) -> None:
        """Have empty disks there for those that move, and those that nobody writes."""
        image = self._carried.image(self._uuid)
        if self._berth.wants_image and image is not None:
            self._line.put(image, IMAGE)
        directory = self._disks.directory(self._uuid)
        for name in moved_xml.fixed_files(xml, str(directory)):
            self._line.put(directory / name, name)
        for disk in moving:
            path = Path(disk.path)
            size = path.stat().st_size if path.suffix == ".raw" else self._disks.size_of(path)
            self._line.make(path.name, size, path.stat().st_blocks * 512)

    # ---- on the way

    def _migrate(self, there: Connection, parameters: dict[str, Any], voyage: Voyage) -> None:
        """Move it. Raises ``KilonovaError``, and then it may be here or there."""
        flags = _FLAGS
        if libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS in parameters:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_INC
        if self._berth.shared or self._berth.volumes:
            # libvirt looks at the kind of file system; the hosts have seen each other's note in it, or the
            # block storage service lets both have the volumes.
            flags |= libvirt.VIR_MIGRATE_UNSAFE
        if self._migration.vm_state is VmState.PAUSED:
            flags |= libvirt.VIR_MIGRATE_PAUSED
        if not self._post_copy:
            self._sail(there, parameters, flags, voyage)
            return
        try:
            self._sail(there, parameters, flags | _POST_COPY, voyage)
        except BuildFailed as error:
            if self._sent or voyage.aborted or self._closing.is_set():
                raise
            LOG.info("%s goes without post-copy: %s", self._uuid, error.in_full)
            self._post_copy = False
            self._sail(there, parameters, flags, voyage)

    def _sail(
        self, there: Connection, parameters: dict[str, Any], flags: int, voyage: Voyage
    ) -> None:
        """Let libvirt move it, and steer. Raises ``KilonovaError``."""
        failed: list[KilonovaError] = []

        def sail() -> None:
            def lead(connection: Any) -> None:
                domain = connection.lookupByUUIDString(self._uuid)
                there.use(lambda other: domain.migrate3(other, parameters, flags))

            try:
                self._local.use(lead)
            except KilonovaError as error:
                failed.append(error)

        sailing = threading.Thread(target=sail, name="live-migration", daemon=True)
        began = time.monotonic()
        sailing.start()
        while sailing.is_alive():
            sailing.join(_LOOKS)
            with suppress(KilonovaError):
                took = time.monotonic() - began
                self._local.use(lambda connection: self._steer(connection, voyage, took))  # noqa: B023
        if failed:
            raise failed[0]

    def _steer(self, connection: Any, voyage: Voyage, took: float) -> None:
        """Look at how far it is after so many seconds, and do what is wanted of it."""
        domain = domains.find(connection, self._uuid)
        if domain is None:
            return
        stats = domain.jobStats()
        if not stats.get("type"):
            return
        how_far = _progress(stats)
        self._sent |= bool(how_far.memory_processed or how_far.disk_processed)
        voyage.progress(how_far)
        if voyage.aborted or self._closing.is_set():
            # Refused of a guest that runs at its destination already.
            domain.abortJob()
        elif not self._hurried and (voyage.forced or (self._post_copy and is_slow(how_far, took))):
            self._hurry(domain)

    def _hurry(self, domain: Any) -> None:
        """See to it that it arrives, however much it writes."""
        if self._post_copy:
            # Refused until all of its disks is there; it is asked for again then.
            domain.migrateStartPostCopy(0)
            LOG.info("%s goes on at its destination, and its memory follows", self._uuid)
        else:
            LOG.info("%s stands still for the rest of its way", self._uuid)
            domains.pause(domain)
        self._hurried = True

    # ---- after

    def _is_there(self, there: Connection, voyage: Voyage) -> bool:
        """Find out where the guest is, and see to it that it is there alone.

        Raises:
            HypervisorUnavailable: the service ends before that is known.
        """
        began, said = time.monotonic(), False
        while True:
            try:
                found = self._where(there)
                if found not in (Where.BETWEEN, Where.BROKEN):
                    return self._settle(found, there)
                self._bring_together(found, there, voyage)
            except HypervisorUnavailable as error:
                if not said:
                    LOG.warning("Where %s runs is not known: %s", self._uuid, error.in_full)
                said = True
                if self._closing.wait(_PAUSE):
                    raise
            if voyage.aborted and time.monotonic() - began > _GIVES_UP and self._is_broken():
                return self._settle(Where.LOST, there)

    def _where(self, there: Connection) -> Where:
        here = self._local.use(self._state)
        if whereabouts.is_sure(here):
            return whereabouts.where(here, None)
        return whereabouts.where(here, there.use(self._state))

    def _is_broken(self) -> bool:
        """Whether the source alone knows that the guest is its destination's."""
        try:
            here = self._local.use(self._state)
        except HypervisorUnavailable:
            return False
        return not whereabouts.is_sure(here) and whereabouts.where(here, None) is Where.LOST

    def _bring_together(self, found: Where, there: Connection, voyage: Voyage) -> None:
        """Let what a guest lacks at its destination come, and wait.

        Raises:
            HypervisorUnavailable: the service ends.
        """
        if found is Where.BROKEN:
            try:
                LOG.warning("%s lacks memory at its destination; the rest is sent", self._uuid)
                (port,) = self._line.ports(1)
                parameters = _way_in(port)
                self._sail(there, parameters, _FLAGS | _AGAIN, voyage)
            except KilonovaError as error:
                LOG.warning("%s still lacks memory: %s", self._uuid, error.in_full)
        if self._closing.wait(_PAUSE):
            raise HypervisorUnavailable("The service ends while a guest's memory is on its way.")

    def _settle(self, found: Where, there: Connection) -> bool:
        """Have the guest where it is, and nothing of it elsewhere."""
        if found in (Where.THERE, Where.LOST):
            said = "runs at its destination" if found is Where.THERE else "lost its memory"
            domain = self._local.use(lambda c: domains.find(c, self._uuid))
            if domain is not None:
                LOG.warning("%s %s; what is left here is removed", self._uuid, said)
                self._local.use(lambda _: domains.remove(domain, has_nvram=True))
            return True
        if found is Where.STANDS:
            if there.use(self._state) is not None:
                there.use(lambda c: domains.power_off(c.lookupByUUIDString(self._uuid)))
            LOG.warning("%s did not arrive; it goes on here", self._uuid)
            self._local.use(lambda c: c.lookupByUUIDString(self._uuid).resume())
        return False

    def _state(self, connection: Any) -> State | None:
        domain = domains.find(connection, self._uuid)
        return None if domain is None else State(*domain.state())

    def _wake(self) -> None:
        """Let a guest go on that was paused to be moved."""
        if self._migration.vm_state is VmState.PAUSED:
            return
        with suppress(NotFound):
            self._local.use(lambda c: domains.unpause(c.lookupByUUIDString(self._uuid)))

    def _figures(self, there: Connection) -> Progress:
        """Return what was moved, and for how long the guest stood still."""
        try:
            stats = there.use(
                lambda c: c.lookupByUUIDString(self._uuid).jobStats(
                    libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED
                )
            )
        except KilonovaError:
            return Progress()
        found = _progress(stats)
        LOG.info("%s arrived; it stood still for %d ms", self._uuid, found.downtime)
        return found


def is_slow(how_far: Progress, seconds: float) -> bool:
    """Whether a guest is longer on its way than one of its size should be. Pure."""
    return seconds > _SECONDS_PER_GIB * max(
        1.0, (how_far.memory_total + how_far.disk_total) / (1 << 30)
    )


def _way_in(port: int) -> dict[str, Any]:
    """Return libvirt's parameters for memory that goes to a port of the destination's."""
    return {
        libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{DOORSTEP}:{port}",
        libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS: LOOPBACK,
    }


def _check_cpu(connection: Any, xml: str) -> None:
    """See that a host's processors can do what the guest's do. Emulated ones are the same everywhere."""
    cpu = moved_xml.cpu_of(xml)
    if cpu is None or 'type="kvm"' not in xml.replace("'", '"').split(">", 1)[0]:
        return
    try:
        same = connection.compareHypervisorCPU(None, None, None, "kvm", cpu, 0)
    except libvirt.libvirtError as error:
        raise BuildFailed("The processors of the destination cannot be compared.") from error
    if same == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
        raise BuildFailed("The processors of the destination lack what the server uses.")


def _progress(stats: Mapping[str, Any]) -> Progress:
    return Progress(
        memory_total=stats.get("memory_total", 0),
        memory_processed=stats.get("memory_processed", 0),
        memory_remaining=stats.get("memory_remaining", 0),
        disk_total=stats.get("disk_total", 0),
        disk_processed=stats.get("disk_processed", 0),
        disk_remaining=stats.get("disk_remaining", 0),
        downtime=stats.get("downtime", 0),
    )


def _sentence(error: KilonovaError) -> str:
    if isinstance(error, BuildFailed):
        return error.message
    return "The server could not be moved while it ran."
