"""What a host does for each order: one table, and what is special about an order beside it.

An act works on one server while it has the server's turn, and raises ``KilonovaError`` if it fails.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kilonova.compute.driver import Driver
from kilonova.core import orders
from kilonova.core.instance import Instance
from kilonova.core.orders import Order
from kilonova.core.states import PowerState, TaskState, VmState

CLEAN_SECONDS = 60.0
"""What a guest gets to shut down by itself (as Nova's ``shutdown_timeout``)."""


class Job(msgspec.Struct, frozen=True):
    """One order in hand. ``hurry`` tells whether the server is to be deleted anyway; ``say`` reports how
    far the task has come."""

    driver: Driver
    instance: Instance
    order: Any
    hurry: Callable[[], bool]
    say: Callable[[TaskState], None]


After = tuple[VmState, PowerState]
"""What a server is when an act has succeeded."""


class Act(msgspec.Struct, frozen=True):
    """How an order is done: its event's name, the work, and what the server is then (None: the same)."""

    event: str
    work: Callable[[Job], None]
    after: After | None = None


_RUNS: After = (VmState.ACTIVE, PowerState.RUNNING)
_IS_OFF: After = (VmState.STOPPED, PowerState.SHUTDOWN)
_STANDS_STILL: After = (VmState.PAUSED, PowerState.PAUSED)
_IS_SAVED: After = (VmState.SUSPENDED, PowerState.SUSPENDED)


def _shut_down(job: Job) -> None:
    """Let the guest shut down, unless it is to be deleted anyway."""
    job.driver.stop(job.instance.uuid, CLEAN_SECONDS, job.hurry)


def _soft_reboot(job: Job) -> None:
    _shut_down(job)
    job.driver.start(job.instance.uuid)


ACTS: dict[type[Order], Act] = {
    orders.Stop: Act("compute_stop_instance", _shut_down, _IS_OFF),
    orders.Start: Act(
        "compute_start_instance", lambda job: job.driver.start(job.instance.uuid), _RUNS
    ),
    orders.SoftReboot: Act("compute_reboot_instance", _soft_reboot, _RUNS),
    orders.HardReboot: Act(
        "compute_reboot_instance", lambda job: job.driver.reboot(job.instance), _RUNS
    ),
    orders.Pause: Act(
        "compute_pause_instance", lambda job: job.driver.pause(job.instance.uuid), _STANDS_STILL
    ),
    orders.Unpause: Act(
        "compute_unpause_instance", lambda job: job.driver.unpause(job.instance.uuid), _RUNS
    ),
    orders.Suspend: Act(
        "compute_suspend_instance", lambda job: job.driver.suspend(job.instance.uuid), _IS_SAVED
    ),
    orders.Resume: Act(
        "compute_resume_instance", lambda job: job.driver.resume(job.instance.uuid), _RUNS
    ),
}
"""Every order, and nothing else."""
