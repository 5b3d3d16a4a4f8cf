"""What a filter is: may this server run on this host, and if not, why.

A filter takes the request, the host and the moment of the decision, and returns a ``Reason`` or None. It is
a pure function. Its sentence counts well ("3 are in another zone") and names no host.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from kilonova.core.ids import HostName
from kilonova.core.scheduling import HostState, Reason, RequestSpec


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a decision goes by beside the request and the hosts, as it is when the decision is made.

    A host counts as up for ``down_after`` seconds after a sign of life. ``host_of`` tells where the servers
    are that the request's hints name, ``members`` how many servers of its group are on each host.
    """

    now: datetime
    down_after: float
    max_io_ops_per_host: int = 8
    max_instances_per_host: int = 50
    metric_weights: Mapping[str, float] = field(default_factory=dict)
    host_of: Mapping[str, HostName] = field(default_factory=dict)
    members: Mapping[HostName, int] = field(default_factory=dict)

    @cached_property
    def silent_before(self) -> datetime:
        """A host of which nothing was heard since is down."""
        return self.now - timedelta(seconds=self.down_after)

    def with_members(self, members: Mapping[HostName, int]) -> "Moment":
        """Return this moment with other numbers of servers of the group on the hosts."""
        return replace(self, members=members)


Filter = Callable[[RequestSpec, HostState, Moment], Reason | None]
Concerns = Callable[[RequestSpec], bool]


def about(
    concerns: Concerns, *, steady: bool = True, binding: bool = False
) -> Callable[[Filter], Filter]:
    """Say which requests a filter can refuse at all; of others it is not asked. Of a request that is not to
    be judged, only a ``binding`` filter is.

    A ``steady`` filter's answer for a host is not changed by servers of the same request that are placed
    there, so it is asked once. A filter that says nothing of itself is asked always, and anew.
    """

    def mark(ask: Filter) -> Filter:
        ask.concerns = concerns  # type: ignore[attr-defined]
        ask.steady = steady  # type: ignore[attr-defined]
        ask.binding = binding  # type: ignore[attr-defined]
        return ask

    return mark


def every(_spec: RequestSpec) -> bool:
    """Any request is concerned."""
    return True


def concerns(ask: Filter, spec: RequestSpec) -> bool:
    """Whether a filter can refuse a host for this request."""
    if spec.unjudged and not getattr(ask, "binding", False):
        return False
    return bool(getattr(ask, "concerns", every)(spec))


def is_steady(ask: Filter) -> bool:
    """Whether a filter's answer for a host outlasts a server that is placed there."""
    return bool(getattr(ask, "steady", False))


def hints(spec: RequestSpec, name: str) -> tuple[str, ...]:
    """Return the values of a scheduler hint that is one text or a list of texts."""
    value = spec.hints.get(name, ())
    return (value,) if isinstance(value, str) else tuple(value)
