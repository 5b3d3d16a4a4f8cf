"""The driver of libvirt: QEMU, KVM, and libvirt's own test hypervisor."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import libvirt
import msgspec
from oslo_config import cfg

from kilonova.compute.crossing.harbour import Harbour
from kilonova.compute.driver import DiskCopy, Guest, Watcher
from kilonova.compute.libvirt import agent, domains, live_copy
from kilonova.compute.libvirt.agent import Agents
from kilonova.compute.libvirt.cards import cards
from kilonova.compute.libvirt.carried import Carried
from kilonova.compute.libvirt.connection import Connection
from kilonova.compute.libvirt.consoles import Consoles
from kilonova.compute.libvirt.disks import Disks
from kilonova.compute.libvirt.domain_xml import (
    NAMESPACE,
    Record,
    domain_xml,
    record_for,
    record_of,
)
from kilonova.compute.libvirt.elements.place import Place
from kilonova.compute.libvirt.events import Events
from kilonova.compute.libvirt.figures import WANTED, figures, with_told
from kilonova.compute.libvirt.interfaces import Interfaces
from kilonova.compute.libvirt.moves import Moves
from kilonova.compute.libvirt.node import Machine
from kilonova.compute.libvirt.parts import GuestParts
from kilonova.compute.libvirt.placed_xml import placed
from kilonova.compute.libvirt.processes import Uptimes
from kilonova.compute.libvirt.shares import SharesHere
from kilonova.compute.libvirt.tpm_states import TpmStates
from kilonova.compute.libvirt.volumes import VolumesHere
from kilonova.core.asked import Malformed
from kilonova.core.console import ConsoleAddress
from kilonova.core.diagnostics import Diagnostics
from kilonova.core.errors import (
    BuildAborted,
    BuildFailed,
    HypervisorUnavailable,
    Invalid,
    NotFound,
)
from kilonova.core.host import NodeReport
from kilonova.core.ids import HostName, InstanceUuid, uuid_of_domain
from kilonova.core.image import Image
from kilonova.core.instance import Instance, Nic
from kilonova.core.states import PowerState
from kilonova.core.tagged_devices import Placed, has_tags
from kilonova.http.images import ImageStore

T = TypeVar("T")


class LibvirtDriver(Moves, Interfaces, VolumesHere, SharesHere):
    """One libvirt. Domains are defined, so that they outlive a restart of the host."""

    _disks_of = Disks
    _usual_uri = "qemu:///system"

    def __init__(self, conf: cfg.ConfigOpts, host: HostName, images: ImageStore) -> None:
        self._conf = conf
        self._host = host
        self._virt_type: str = conf.libvirt.virt_type
        self._disks = self._disks_of(Path(conf.instances_path).absolute(), images, host)
        self._uri: str = conf.libvirt.connection_uri or self._usual_uri
        self._libvirt = Connection(self._uri)
        self._closing = threading.Event()
        self._carried = Carried(self._disks, self._uri)
        self._tpms = TpmStates(self._uri)
        berths = self._disks.root / "_berths" / host
        self._harbour = Harbour(berths, conf.my_ip, self._carried)
        self._cards = cards(conf, self._disks.root, self.devices)
        # A domain's metadata can only be read by itself. It does not change, so that is done once.
        self._records: dict[InstanceUuid, Record] = {}
        self._consoles = Consoles(self._libvirt, conf.my_ip)
        self._agents = Agents(self._libvirt.use)
        self._uptimes = Uptimes()
        self._parts = GuestParts(conf, host, self._disks.root)
        self._machine = Machine(conf, host, self._disks.root)
        with contextlib.suppress(HypervisorUnavailable):
            # What this host cannot do is told when it starts. A hypervisor that is away may come back.
            self._libvirt.use(self._cards.ensure)

    @property
    def _is_test(self) -> bool:
        return self._virt_type == "test"

    def nodes(self) -> tuple[NodeReport, ...]:
        """One node, named as its host."""
        return (self._libvirt.use(self._node),)

    def _node(self, connection: Any) -> NodeReport:
        self._cards.ensure(connection)
        guests = [(power, record) for _, power, record in self._domains(connection)]
        vgpus = self._parts.vgpus(connection)
        return self._machine.report(connection, guests, self._parts.free(connection), vgpus)

    def prepare_networks(self, instance: Instance) -> tuple[Nic, ...]:
        """See ``Driver``."""
        return self._cards.plug(instance)

    def prepare_disks(self, instance: Instance) -> None:
        """See ``Driver``. No image is fetched for a hypervisor that does not answer."""
        self._libvirt.use(lambda connection: None)
        self._prepare_disks(instance)

    def _prepare_disks(self, instance: Instance) -> None:
        if self._is_test:
            self._disks.make_directory(instance.uuid)
        else:
            self._disks.prepare(instance)

    def spawn(self, instance: Instance, until: Callable[[], None] | None = None) -> None:
        """See ``Driver``."""

        def make(connection: Any) -> None:
            if domains.find(connection, instance.uuid) is not None:
                raise BuildFailed(f"There is a guest {instance.uuid} already.")
            if not self._is_test:
                self._disks.write_config_drive(instance, self._cards.of(instance.uuid))
            domain = connection.defineXML(self._xml(connection, instance))
            self._tell_of_tags(domain, instance)
            domains.create(domain, 0 if until is None else libvirt.VIR_DOMAIN_START_PAUSED)

        self._libvirt.use(make)
        if until is not None:
            until()
            self._on(instance.uuid, domains.unpause)
        self._records[instance.uuid] = record_for(instance)

    def _tell_of_tags(self, domain: Any, instance: Instance) -> None:
        """Tell the guest where its devices with tags are: libvirt knows as soon as it is defined."""
        nics = self._cards.of(instance.uuid)
        if instance.wishes.config_drive and has_tags(instance, nics):
            self._disks.write_config_drive(instance, nics, placed(domain.XMLDesc()))

    def devices(self, uuid: InstanceUuid) -> tuple[Placed, ...]:
        """See ``Driver``."""
        return placed(self._on(uuid, lambda domain: str(domain.XMLDesc())))

    def _xml(self, connection: Any, instance: Instance, *, rescue: bool = False) -> str:
        place = Place(
            virt_type=self._virt_type,
            arch="i686" if self._is_test else str(connection.getInfo()[0]),
            console_log=str(self._disks.console_log(instance.uuid)),
            rescue=str(self._disks.rescue_disk(instance.uuid)) if rescue else None,
            mounts=str(self._mounts),
        )
        if not self._is_test:
            place = self._disks.place(instance, self._cards.place(instance.uuid, place))
        try:
            return domain_xml(instance, self._parts.place(connection, instance, place))
        except Malformed as error:
            raise BuildAborted(error.message) from error

    def destroy(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._harbour.close(uuid)
        try:
            self._on(uuid, self._remove)
        except NotFound:
            self._drop_tpm(uuid)
        self._cards.disconnect(uuid)
        self._disks.remove(uuid)
        self._cards.unplug(uuid)
        self._parts.give_back(uuid)
        self._libvirt.use(self._parts.tend)
        self._records.pop(uuid, None)

    def _remove(self, domain: Any) -> None:
        domains.remove(domain, has_nvram=not self._is_test)

    def stop(self, uuid: InstanceUuid, clean_seconds: float, hurry: Callable[[], bool]) -> None:
        """See ``Driver``."""
        self._on(uuid, lambda domain: domains.shut_down(domain, clean_seconds, hurry))

    def start(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._cards.connect(uuid)
        self._libvirt.use(self._parts.tend)
        self._on(uuid, domains.power_on)

    def reboot(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._restart(instance)

    def _restart(self, instance: Instance, *, rescue: bool = False) -> None:
        """Cut the guest's power, define it anew and start it from its disk."""

        def restart(connection: Any) -> None:
            domain = domains.find(connection, instance.uuid)
            self._cards.connect(instance.uuid)
            if domain is not None:
                domains.power_off(domain)
                domains.forget_saved(domain)
            elif not self._disks.has(instance.uuid):
                raise NotFound(f"There is no guest {instance.uuid} on this host.")
            domains.power_on(connection.defineXML(self._xml(connection, instance, rescue=rescue)))

        self._libvirt.use(restart)
        self._records[instance.uuid] = record_for(instance)

    def fetch_image(self, instance: Instance) -> None:
        """See ``Driver``."""
        if not self._is_test:
            self._disks.fetch(instance)

    def cache_image(self, image: Image) -> None:
        """See ``Driver``."""
        if not self._is_test:
            self._disks.cache(image)

    def rescue(self, instance: Instance, image: Image) -> None:
        """See ``Driver``."""
        self._on(instance.uuid, lambda domain: None)
        if not self._is_test:
            self._disks.prepare_rescue(instance.uuid, image)
        self._restart(instance, rescue=not self._is_test)

    def unrescue(self, instance: Instance) -> None:
        """See ``Driver``."""
        self._on(instance.uuid, lambda domain: None)
        self._restart(instance)
        self._disks.end_rescue(instance.uuid)

    @contextmanager
    def snapshot(self, instance: Instance) -> Iterator[DiskCopy]:
        """See ``Driver``. A guest that runs goes on. Where QEMU cannot copy its disk like that, it is
        suspended: then all that it wrote is there, and nothing is lost whatever ends this process. The test
        driver has no disks."""
        uuid = instance.uuid
        with ExitStack() as opened, ExitStack() as saved:
            if self._is_test:
                self._on(uuid, lambda domain: None)
                yield DiskCopy(BytesIO(), "raw")
                return
            copy = opened.enter_context(self._disks.room_for_copy(uuid))
            disk = self._disks.disk(uuid)
            if not self._on(uuid, lambda domain: live_copy.copy(domain, disk, copy)):
                if self._on(uuid, domains.save):
                    saved.callback(self._on, uuid, domains.power_on)
                self._disks.copy(uuid, copy)
                saved.close()
            yield DiskCopy(opened.enter_context(copy.open("rb")), "qcow2")

    def set_password(self, instance: Instance, password: str) -> None:
        """See ``Driver``. It is the agent in the guest that does it."""
        properties = instance.image.properties if instance.image else {}
        usual = "Administrator" if properties.get("os_type") == "windows" else "root"
        user = properties.get("os_admin_user", usual)
        self._on(instance.uuid, lambda domain: agent.set_password(domain, user, password))

    def crash_dump(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._on(uuid, lambda domain: domain.injectNMI(0))

    def diagnostics(self, uuid: InstanceUuid) -> Diagnostics:
        """See ``Driver``."""

        def measure(connection: Any) -> Diagnostics:
            domain = connection.lookupByUUIDString(uuid)
            ((_, found),) = connection.domainListGetStats([domain], WANTED)
            return figures(found, connection.getType().lower())

        return self._libvirt.use(measure)

    def samples(self) -> Mapping[InstanceUuid, Diagnostics]:
        """See ``Driver``. Of a domain at work on something long only what is known at once is told."""

        def measure(connection: Any) -> dict[InstanceUuid, Diagnostics]:
            kind = connection.getType().lower()
            found = connection.getAllDomainStats(WANTED, _NOWAIT)
            named = [
                (uuid, domain, figures(values, kind))
                for domain, values in found
                if (uuid := uuid_of_domain(domain.name())) is not None
            ]
            uptimes = self._uptimes.of(
                {u: (domain.ID(), domain.name()) for u, domain, f in named if f.state == "running"}
            )
            return {
                uuid: with_told(
                    msgspec.structs.replace(measured, uptime=uptimes.get(uuid)),
                    self._agents.told(uuid),
                )
                for uuid, _, measured in named
            }

        return self._libvirt.use(measure)

    def console(self, uuid: InstanceUuid, kind: str) -> ConsoleAddress:
        """See ``Driver``."""
        if self._is_test:
            self._on(uuid, lambda domain: None)
            raise Invalid(f"Unavailable console type {kind}.")
        return self._consoles.find(uuid, kind, self._disks.console_socket(uuid))

    def pause(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._on(uuid, domains.pause)

    def unpause(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._on(uuid, domains.unpause)

    def suspend(self, uuid: InstanceUuid) -> None:
        """See ``Driver``."""
        self._on(uuid, domains.save)

    def resume(self, uuid: InstanceUuid) -> None:
        """See ``Driver``. What was saved is what it starts from."""
        self.start(uuid)

    def console_output(self, uuid: InstanceUuid, lines: int | None) -> str:
        """See ``Driver``."""
        self._on(uuid, lambda domain: None)
        return self._disks.console_tail(uuid, lines)

    def guests(self) -> Mapping[InstanceUuid, Guest]:
        """See ``Driver``."""
        files = {uuid: Guest(PowerState.NOSTATE, 0) for uuid in self._disks.uuids()}
        found = self._libvirt.use(lambda connection: list(self._domains(connection)))
        return files | {
            uuid: Guest(power, record.epoch, self._cards.of(uuid)) for uuid, power, record in found
        }

    def _domains(self, connection: Any) -> Iterator[tuple[InstanceUuid, PowerState, Record]]:
        saved = {domain.name() for domain in connection.listAllDomains(_SAVED)}
        for domain, state in self._states(connection):
            uuid = uuid_of_domain(domain.name())
            if uuid is not None:
                record = self._records.get(uuid)
                if record is None:
                    record = self._records[uuid] = _read_record(domain)
                power = domains.POWER.get(state, PowerState.NOSTATE)
                if power == PowerState.SHUTDOWN and domain.name() in saved:
                    power = PowerState.SUSPENDED
                yield uuid, power, record

    def _states(self, connection: Any) -> Iterator[tuple[Any, int]]:
        """Yield every domain with its ``virDomainState``."""
        for domain, values in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
            yield domain, values["state.state"]

    def watch(self, watcher: Watcher) -> None:
        """See ``Driver``."""
        self._libvirt.listen(Events(watcher))

    def close(self) -> None:
        """See ``Driver``."""
        self._closing.set()
        self._harbour.shut()
        self._agents.close()
        self._consoles.close()
        self._cards.close()
        self._libvirt.close()

    def _on(self, uuid: InstanceUuid, work: Callable[[Any], T]) -> T:
        return self._libvirt.use(lambda connection: work(connection.lookupByUUIDString(uuid)))


def _read_record(domain: Any) -> Record:
    """Return what a domain's metadata tells; nothing of one that has none, or is gone by now."""
    try:
        return record_of(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE))
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _SAYS_NOTHING:
            raise
        return Record()


_NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_SAVED = libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
_SAYS_NOTHING = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_NO_DOMAIN_METADATA)
