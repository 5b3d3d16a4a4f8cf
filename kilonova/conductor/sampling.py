"""Asks every host at once how its servers are, over the bus."""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec

from kilonova.core.context import RequestContext
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import HostName, InstanceUuid
from kilonova.core.vitals import Vitals
from kilonova.rpc.bus import Bus
from kilonova.rpc.messages import SampleServers, ServersSampled

_PATIENCE = 3.0
"""Seconds that a host gets to answer: it only tells what it has seen already."""
_AT_ONCE = 256
_LOOKS = 0.5
"""Seconds between two looks at how far it is."""


class Sampled(msgspec.Struct, frozen=True):
    """How servers are, and the hosts that did not tell in time."""

    vitals: Mapping[InstanceUuid, Vitals]
    not_answering: tuple[HostName, ...]


def sample(
    buses: Mapping[HostName, Bus],
    context: RequestContext,
    goes_on: Callable[[int], bool],
) -> Sampled | None:
    """Ask hosts, each over the bus of its cell, and return what they say.

    ``goes_on`` is told now and then how many have answered or been given up; once it says no, nobody is
    asked any more, and None is returned.
    """
    message = SampleServers()

    def ask(host: HostName, bus: Bus) -> tuple[Vitals, ...]:
        return bus.call(context, message, ServersSampled, host=host, timeout=_PATIENCE).servers

    threads = ThreadPoolExecutor(max(1, min(len(buses), _AT_ONCE)), "sample")
    try:
        asked = {host: threads.submit(ask, host, bus) for host, bus in buses.items()}
        waiting: Collection[Future[tuple[Vitals, ...]]] = asked.values()
        while waiting:
            waiting = wait(waiting, timeout=_LOOKS).not_done
            if not goes_on(len(asked) - len(waiting)):
                return None
        return _put_together(asked)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _put_together(asked: Mapping[HostName, "Future[tuple[Vitals, ...]]"]) -> Sampled:
    found: dict[InstanceUuid, Vitals] = {}
    silent: list[HostName] = []
    for host, answer in asked.items():
        try:
            found |= {one.instance_uuid: one for one in answer.result()}
        except KilonovaError:
            silent.append(host)
    return Sampled(found, tuple(sorted(silent)))
