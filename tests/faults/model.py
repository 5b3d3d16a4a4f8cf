"""A model of how a server is claimed and built, small enough to look at every state that it can reach.

One server; conductors of which each may stand still for ever, and be taken over; two hosts with room for
one server each, one of which a neighbour may take; a converger; a host's service that may be killed once; a
user who may delete at any time. What was sent may arrive at any time, any number of times, or never.
What the code does in one transaction, or between two sends, is one step here; each step names that code.

``Rules`` may be broken one by one, to see that the explorer notices.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")

HOSTS = (0, 1)
NOWHERE = -1
_MOST_TAKES = 2
_MOST_EPOCHS = 3
_MOST_KILLS = 1


@dataclass(frozen=True)
class Rules:
    """What the code promises; see the steps that ask for each."""

    claims_are_fenced: bool = True
    begin_compares_the_epoch: bool = True
    begin_sets_the_epoch: bool = True
    moves_end_the_epoch_first: bool = True
    hosts_remove_before_they_report: bool = True
    hosts_look_when_they_start: bool = True
    only_who_placed_it_sends_it: bool = True


class Drive(NamedTuple):
    """A conductor that took the request as the ``epoch``-th: how far it is, and where it claimed."""

    epoch: int
    stage: str = "took"
    host: int = NOWHERE


class Move(NamedTuple):
    """Somebody who ended the build before ``epoch``, and where it has claimed since."""

    epoch: int
    host: int = NOWHERE


class Build(NamedTuple):
    """What a host's service has in hand: it ``asked`` the cell, may go ``on``, or ``made`` the guest."""

    epoch: int
    stage: str = "asked"


class State(NamedTuple):
    """All that is stored or under way. Hosts' things are pairs; a guest is the epoch of its build."""

    request: str = "pending"
    takes: int = 0
    mapped: bool = False
    status: str = "none"
    host: int = NOWHERE
    epoch: int = 0
    begun: int = 0
    claim: int = NOWHERE
    fence: int = 0
    neighbour: int = NOWHERE
    drives: frozenset[Drive] = frozenset()
    moves: frozenset[Move] = frozenset()
    sent: frozenset[tuple[int, int]] = frozenset()
    hands: tuple[Build | None, Build | None] = (None, None)
    guests: tuple[int, int] = (0, 0)
    down: tuple[bool, bool] = (False, False)
    gone: bool = False
    kills: int = 0


START = State()


def wrong(state: State) -> str | None:
    """Return what can never be, if this is such a state."""
    if sum(epoch > 0 for epoch in state.guests) > 1:
        return "two domains live"
    if state.claim != NOWHERE and state.claim == state.neighbour:
        return "a host is over-committed"
    for host in HOSTS:
        counts = state.guests[host] == state.epoch and state.host == host
        if counts and state.status in ("build", "active") and state.claim != host:
            return "a domain runs where its server holds nothing"
    return None


def settled(state: State) -> bool:
    """Whether the request has ended, and nothing is left behind."""
    if state.request != "none":
        return False
    if state.status == "active":
        there = state.guests[state.host] == state.epoch and state.claim == state.host
        return state.mapped and there and sum(state.guests) == state.epoch
    return (
        state.status in ("none", "error", "deleted")
        and state.claim == NOWHERE
        and not any(state.guests)
    )


def steps(state: State, rules: Rules) -> Iterator[State]:
    """Yield every state that may come next."""
    yield from _user(state)
    yield from _neighbour(state)
    yield from _conductors(state, rules)
    yield from _converger(state, rules)
    yield from _movers(state, rules)
    for host in HOSTS:
        yield from _host(state, host, rules)
    yield from _undertaker(state)


def _user(state: State) -> Iterator[State]:
    """``api.servers.delete``: withdraws what has no cell, else begins to delete."""
    if state.request == "pending":
        begun = "withdrawn" if state.takes else "none"
        yield state._replace(request=begun)
    if state.mapped and state.status in ("build", "active", "error"):
        yield state._replace(status="deleting")


def _neighbour(state: State) -> Iterator[State]:
    """Somebody else's server, on either host, while there is room."""
    if state.neighbour == NOWHERE:
        yield from (state._replace(neighbour=host) for host in HOSTS if state.claim != host)
    else:
        yield state._replace(neighbour=NOWHERE)


def _claimed(state: State, host: int, fence: int, rules: Rules) -> State | None:
    """``placement_claims``: the guarded, fenced claim; None if it is refused."""
    if rules.claims_are_fenced:
        behind = fence < state.fence or (
            fence == state.fence and state.claim not in (host, NOWHERE)
        )
        if behind and state.claim != NOWHERE:
            return None
    if state.neighbour == host:
        return None
    return state._replace(claim=host, fence=max(fence, state.fence))


def _conductors(state: State, rules: Rules) -> Iterator[State]:
    """``super_conductor.drive`` of everybody who took the request, whether or not it still is theirs."""
    if state.request in ("pending", "withdrawn") and state.takes < _MOST_TAKES:
        drive = Drive(epoch=state.takes + 1)
        yield state._replace(takes=state.takes + 1, drives=state.drives | {drive})
    for drive in state.drives:
        without = state._replace(drives=state.drives - {drive})
        mine = state.request != "none" and drive.epoch == state.takes
        for after, stage, host in _drive(without, drive, rules, mine=mine):
            more = {drive._replace(stage=stage, host=host)} if stage else set()
            yield after._replace(drives=after.drives | more)


def _drive(
    state: State, drive: Drive, rules: Rules, *, mine: bool
) -> Iterator[tuple[State, str, int]]:
    """Yield (the state after, the drive's next stage or none, its host)."""
    if drive.stage == "took":
        if state.request == "withdrawn" and mine:
            yield _cleared(state), "", NOWHERE
            return
        if state.status != "none" and mine:
            # Somebody placed it before: it is only settled, and sent by the converger.
            yield state._replace(request="none", mapped=True), "", NOWHERE
            return
        for host in HOSTS:
            after = _claimed(state, host, drive.epoch, rules)
            if after is not None:
                yield after, "claimed", host
    elif drive.stage == "claimed":
        if mine:
            yield state, "kept", drive.host
    elif drive.stage == "kept":
        if state.status == "none":
            placed = state._replace(status="build", host=drive.host, epoch=drive.epoch, begun=0)
            yield placed, "placed", drive.host
        else:
            there = "placed" if not rules.only_who_placed_it_sends_it else "found"
            yield state, there, drive.host
    elif mine:
        yield _settled(state, drive), "", NOWHERE


def _settled(state: State, drive: Drive) -> State:
    """``build_requests.settle``, and the message to the host if one's own row is there."""
    if state.request == "withdrawn":
        return _cleared(state)
    sent = state.sent | {(drive.host, drive.epoch)} if drive.stage == "placed" else state.sent
    return state._replace(request="none", mapped=True, sent=sent)


def _cleared(state: State) -> State:
    """``_clear_away``: of a server that its owner took back nothing is left."""
    return state._replace(request="none", status="none", host=NOWHERE, claim=NOWHERE, epoch=0)


def _converger(state: State, rules: Rules) -> Iterator[State]:
    """``repairs``: what was not begun, what is late, and what is left of strays."""
    stray = state.request == "none" and not state.mapped
    if stray and state.status == "build":
        yield state._replace(status="none", host=NOWHERE, epoch=0)
    if stray and state.status == "none" and state.claim != NOWHERE:
        yield state._replace(claim=NOWHERE)
    building = state.status == "build" and state.mapped
    if building and state.begun < state.epoch < _MOST_EPOCHS:
        yield _ended(state, rules)
    if building:
        # The deadline: ``builds.fail``, and then the claim under the next epoch.
        yield state._replace(status="error", host=NOWHERE, epoch=state.epoch + 1)
    if state.status == "error" and state.claim != NOWHERE and state.fence <= state.epoch:
        yield state._replace(claim=NOWHERE)


def _ended(state: State, rules: Rules) -> State:
    """``Rebuild.end``: the epoch is raised by compare-and-set, and who raised it goes on."""
    epoch = state.epoch + 1 if rules.moves_end_the_epoch_first else state.epoch
    return state._replace(epoch=epoch, moves=state.moves | {Move(epoch)})


def _movers(state: State, rules: Rules) -> Iterator[State]:
    """``Rebuild.start``: claim under the epoch, move by compare-and-set, send."""
    for move in state.moves:
        without = state._replace(moves=state.moves - {move})
        if move.host == NOWHERE:
            for host in HOSTS:
                after = _claimed(without, host, move.epoch, rules)
                if after is not None:
                    yield after._replace(moves=after.moves | {move._replace(host=host)})
        elif state.status == "build" and state.epoch == move.epoch and _may_move(state, rules):
            sent = state.sent | {(move.host, move.epoch)}
            yield without._replace(host=move.host, sent=sent)
        else:
            # Somebody else has acted: what was claimed under this epoch is given back.
            mine = state.claim == move.host and state.fence == move.epoch
            yield without._replace(claim=NOWHERE if mine else state.claim)


def _may_move(state: State, rules: Rules) -> bool:
    return state.begun < state.epoch or not rules.moves_end_the_epoch_first


def _host(state: State, host: int, rules: Rules) -> Iterator[State]:
    """``Builder`` and ``Adoption``: one build of the server at a time, and a service that may be killed."""
    hand = state.hands[host]
    if hand is not None and state.kills < _MOST_KILLS:
        lost = _put(state, host, hand=None)
        yield lost._replace(kills=state.kills + 1, down=_pair(state.down, host, value=True))
    if state.down[host]:
        yield from _adopt(state, host, rules)
        return
    if hand is None:
        for _, epoch in (one for one in state.sent if one[0] == host):
            yield _put(state, host, hand=Build(epoch))
        if state.status == "deleting" and state.host == host and not state.gone:
            yield _put(state, host, guest=0)._replace(gone=True)
    elif hand.stage == "asked":
        yield _begin(state, host, hand, rules)
    elif hand.stage == "on":
        yield _put(state, host, hand=hand._replace(stage="made"), guest=hand.epoch)
        yield from _failed(_put(state, host, hand=None, guest=0), host, hand.epoch, rules)
        if not rules.hosts_remove_before_they_report:
            left = _put(state, host, hand=None, guest=hand.epoch)
            yield from _failed(left, host, hand.epoch, rules)
    elif _counts(state, host, hand.epoch) and state.status == "build":
        yield _put(state, host, hand=None)._replace(status="active")
    else:
        # The cell refused the end of the build: nobody wants its guest.
        removed = state.guests[host] if state.guests[host] > hand.epoch else 0
        yield _put(state, host, hand=None, guest=removed)


def _counts(state: State, host: int, epoch: int) -> bool:
    return state.host == host and state.epoch == epoch and state.status != "none"


def _begin(state: State, host: int, hand: Build, rules: Rules) -> State:
    """``reports._BEGIN``: compared and set in one statement."""
    counts = _counts(state, host, hand.epoch) or not rules.begin_compares_the_epoch
    fresh = state.begun < hand.epoch or not rules.begin_sets_the_epoch
    if not (counts and fresh and state.status == "build"):
        return _put(state, host, hand=None)
    begun = hand.epoch if rules.begin_sets_the_epoch else state.begun
    return _put(state, host, hand=hand._replace(stage="on"))._replace(begun=begun)


def _failed(state: State, host: int, epoch: int, rules: Rules) -> Iterator[State]:
    """``CellConductor._try_next``: nothing of it runs on its host; the next one may begin."""
    if not _counts(state, host, epoch) or state.status != "build":
        yield state
    elif state.epoch < _MOST_EPOCHS:
        yield _ended(state, rules)
    else:
        yield state._replace(status="error", host=NOWHERE, epoch=epoch + 1)


def _adopt(state: State, host: int, rules: Rules) -> Iterator[State]:
    """``Adoption``: what the last service left is compared with what the cell says."""
    up = state._replace(down=_pair(state.down, host, value=False))
    guest = state.guests[host]
    if not rules.hosts_look_when_they_start:
        yield up
    elif state.host != host or state.status in ("none", "error", "deleted"):
        yield _put(up, host, guest=0)
    elif state.status == "build" and state.begun == state.epoch:
        if guest == state.epoch:
            yield up._replace(status="active")
        else:
            yield from _failed(_put(up, host, guest=0), host, state.epoch, rules)
    else:
        yield _put(up, host, guest=guest if guest == state.epoch else 0)


def _undertaker(state: State) -> Iterator[State]:
    """``CellConductor._bury``: the claim is freed first, and then the server is marked deleted."""
    if state.status == "deleting" and (state.gone or state.host == NOWHERE):
        if state.claim != NOWHERE:
            yield state._replace(claim=NOWHERE)
        else:
            yield state._replace(status="deleted", host=NOWHERE)
    if state.status == "deleted" and state.claim != NOWHERE:
        yield state._replace(claim=NOWHERE)


_SAME = Build(-1)


def _put(state: State, host: int, *, hand: Build | None = _SAME, guest: int | None = None) -> State:
    """Return the state with another build in a host's hands, or another guest on it."""
    hands = state.hands if hand is _SAME else _pair(state.hands, host, value=hand)
    guests = state.guests if guest is None else _pair(state.guests, host, value=guest)
    return state._replace(hands=hands, guests=guests)


def _pair(pair: tuple[T, T], host: int, *, value: T) -> tuple[T, T]:
    return (value, pair[1]) if host == 0 else (pair[0], value)


class Explored(NamedTuple):
    """How many states there are, and the first wrong one, with the states that led to it."""

    states: int
    wrong: str | None
    path: tuple[State, ...] = ()


def explore(rules: Rules, most: int = 3_000_000) -> Explored:
    """Look at every state that can be reached: each must be right, and lead to an end."""
    before: dict[State, State | None] = {START: None}
    parents: dict[State, list[State]] = {}
    waiting = deque([START])
    while waiting:
        state = waiting.popleft()
        what = wrong(state)
        if what is not None:
            return Explored(len(before), what, _path(before, state))
        for after in steps(state, rules):
            parents.setdefault(after, []).append(state)
            if after not in before:
                if len(before) >= most:
                    raise AssertionError(f"There are more than {most} states.")
                before[after] = state
                waiting.append(after)
    hopeless = _without_end(before.keys(), parents)
    if hopeless is not None:
        return Explored(len(before), "it never settles", _path(before, hopeless))
    return Explored(len(before), None)


def _without_end(states: Collection[State], parents: dict[State, list[State]]) -> State | None:
    """Return a state from which no end can be reached any more, or None."""
    reach = {state for state in states if settled(state)}
    waiting = list(reach)
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in reach:
                reach.add(parent)
                waiting.append(parent)
    return next((state for state in states if state not in reach), None)


def _path(before: dict[State, State | None], state: State) -> tuple[State, ...]:
    path = [state]
    while (earlier := before[path[-1]]) is not None:
        path.append(earlier)
    return tuple(reversed(path))
