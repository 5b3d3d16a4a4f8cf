"""Carries out orders: begin, do, report the end. A late or repeated order does nothing."""

import logging
import threading
import uuid
from collections import OrderedDict

import msgspec
from msgspec import UNSET

from kilonova.compute.acts import ACTS, Act
from kilonova.compute.collaborators import Collaborators
from kilonova.compute.guests import Turns
from kilonova.compute.in_hand import InHand
from kilonova.compute.jobs import Job, Outcome
from kilonova.compute.reporter import Reporter
from kilonova.compute.stages import Stages
from kilonova.core import states
from kilonova.core.clock import utcnow
from kilonova.core.context import RequestContext
from kilonova.core.errors import BuildFailed, KilonovaError, ShareFailed
from kilonova.core.ids import HostName, InstanceUuid, RequestId
from kilonova.core.instance import ActionEvent, Fault, Instance
from kilonova.core.orders import Order, image_of, port_of, rule_of, share_of
from kilonova.core.report import InstanceReport
from kilonova.core.states import TaskState, VmState
from kilonova.rpc.messages import ActOnInstance

LOG = logging.getLogger(__name__)

_RENEWS = 60.0
"""Seconds between two words that an order is in hand: a task without any is given up after a while."""
_REMEMBERED = 1000
"""Orders without a task that a host knows to have done: nothing else tells a repeated one."""


class _Words:
    """What is reported of one order."""

    def __init__(
        self, context: RequestContext, instance: Instance, order: Order, reporter: Reporter
    ) -> None:
        self._reporter = reporter
        self.instance = instance
        self.task = states.RULES[rule_of(order)].task
        self._plain = InstanceReport(
            instance_uuid=instance.uuid,
            epoch=instance.epoch,
            request_id=context.request_id,
            # Without a task there is nothing to hold: it goes beside whatever is under way.
            worker=str(uuid.uuid4()) if self.task is not None else "",
            image_id=image_of(order),
            share_id=share_of(order),
            port_id=port_of(order),
        )

    @property
    def are_asked_for(self) -> bool:
        """Whether the cell knows if the order still counts."""
        return self.task is not None or bool(self._plain.port_id)

    @property
    def request_id(self) -> RequestId:
        return self._plain.request_id

    def begin(self, event: ActionEvent, ended: threading.Event) -> bool:
        """Say that the order is begun; False if it must not be."""
        report = msgspec.structs.replace(self._plain, events=(event,))
        return self._reporter.ask(report, ended)

    def go_on(self, task: TaskState | None = None) -> None:
        """Say that it is in hand, or how far it has come."""
        self._reporter.send(msgspec.structs.replace(self._plain, task_state=task or UNSET))

    def succeed(self, outcome: Outcome, stages: Stages) -> None:
        """Say that it is done. If that comes too late for the task, it is still said of the guest."""
        report = msgspec.structs.replace(
            self._ended(stages, outcome.vm_state),
            power_state=outcome.power_state,
            launched_at=outcome.launched_at,
            password=outcome.password,
            nics=outcome.nics,
        )
        answer = self._reporter.send(report)
        if outcome.power_state is UNSET:
            return
        late = msgspec.structs.replace(
            report, worker="", over=False, task_state=UNSET, if_idle=True, events=()
        )

        def tell_late() -> None:
            if not answer.cancelled() and not answer.result():
                self._reporter.send(late)

        answer.add_done_callback(lambda _: tell_late())

    def fail(self, stages: Stages, error: KilonovaError) -> None:
        """Say that it failed, and what that makes of the server."""
        # A guest that cannot have its shares is not started again but by its owner's hand.
        breaks = self.task in states.BREAKS or isinstance(error, ShareFailed)
        if self.task is None or not breaks:
            self._reporter.send(self._ended(stages, UNSET))
            return
        fault = Fault(code=500, message=error.message, details=error.in_full, created_at=utcnow())
        report = self._ended(stages, VmState.ERROR)
        self._reporter.send(msgspec.structs.replace(report, fault=fault))

    def _ended(self, stages: Stages, vm_state: VmState | msgspec.UnsetType) -> InstanceReport:
        return msgspec.structs.replace(
            self._plain,
            vm_state=vm_state,
            task_state=None if self.task is not None else UNSET,
            over=True,
            events=tuple(stages.events),
        )


class Actions:
    """Does orders one at a time for each server."""

    def __init__(
        self,
        host: HostName,
        collaborators: Collaborators,
        reporter: Reporter,
        turns: Turns,
    ) -> None:
        self._host = host
        self._driver, self._images = collaborators.driver, collaborators.images
        self._volumes, self._wiring = collaborators.volumes, collaborators.wiring
        self._shares = collaborators.shares
        self._reporter = reporter
        self._turns = turns
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._in_hand = InHand[InstanceUuid, _Words](_RENEWS, _Words.go_on)
        self._done: OrderedDict[RequestId, None] = OrderedDict()

    def act(self, context: RequestContext, message: ActOnInstance) -> None:
        """Do what an order says, or nothing if its request no longer counts."""
        instance, order = message.instance, message.order
        words = _Words(context, instance, order, self._reporter)
        act = ACTS[type(order)]
        stages = Stages(self._host)
        if not words.are_asked_for and act.due is None:
            if self._is_new(context.request_id):
                self._do(words, order, act, stages, stages.begin(act.event))
            return
        with self._turns.turn(instance.uuid):
            if act.due is not None:
                self._do_if_due(words, order, act, stages)
                return
            whole = stages.begin(act.event)
            if not words.begin(whole, self._stopped):
                LOG.info("%s: %s no longer counts", instance.uuid, act.event)
                return
            with self._in_hand.hold(instance.uuid, words):
                self._do(words, order, act, stages, whole)

    def _do_if_due(self, words: _Words, order: Order, act: Act, stages: Stages) -> None:
        if act.due is not None and act.due(self._job(words, order)):
            self._do(words, order, act, stages, stages.begin(act.event))
        else:
            LOG.info("%s: %s no longer counts", words.instance.uuid, act.event)

    def _job(self, words: _Words, order: Order) -> Job:
        uuid_ = words.instance.uuid
        return Job(
            driver=self._driver,
            images=self._images,
            wiring=self._wiring,
            instance=words.instance,
            order=order,
            hurry=lambda: self._turns.is_going(uuid_),
            say=words.go_on,
            volumes=self._volumes,
            shares=self._shares,
            request_id=words.request_id,
        )

    def _do(
        self, words: _Words, order: Order, act: Act, stages: Stages, whole: ActionEvent
    ) -> None:
        uuid_ = words.instance.uuid
        job = self._job(words, order)
        outcome = _attempt(act, job)
        if isinstance(outcome, Outcome):
            stages.finish(whole)
            words.succeed(outcome, stages)
        else:
            LOG.warning("%s: %s failed: %s", uuid_, act.event, outcome.in_full)
            stages.finish(whole, outcome)
            words.fail(stages, outcome)

    def _is_new(self, request_id: RequestId) -> bool:
        with self._lock:
            if request_id in self._done:
                return False
            self._done[request_id] = None
            while len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
            return True

    def renew(self) -> None:
        """Say now and then of every order in hand that it is."""
        self._in_hand.renew()

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped.set()


def _attempt(act: Act, job: Job) -> Outcome | KilonovaError:
    """Do the work and return what the server is then, or why it failed."""
    try:
        return act.work(job) or act.after
    except KilonovaError as error:
        return error
    except Exception as error:
        LOG.exception("%s of %s failed", act.event, job.instance.uuid)
        return BuildFailed.unexpected(error)
