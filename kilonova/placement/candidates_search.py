"""The search inside one tree: which provider fills which slot, so that all of them fit together.

Pure: values in, values out. A slot is what must come from one provider: a whole group that has a suffix, or
one resource class of the group that has none. The search goes slot by slot and takes a step back at a dead
end, as the plain product of the options would; what makes it follow the answers and not the product is that
it looks ahead. Before it goes on, every slot still open must have a place of its own in a matching of slots
to providers, so that nine slots on eight places are refused at once and not after 9! attempts.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import msgspec

from kilonova.core.candidates import Provider, Request

_TRIES = 100
"""Providers that are tried in a tree in vain, before the reserve of the whole request is drawn on."""
_RESERVE = 20_000


class Slot(msgspec.Struct, frozen=True):
    """Amounts by class that one provider must give, and the providers that each could by itself."""

    suffix: str
    amounts: dict[str, int]
    options: tuple[Provider, ...]


class Patience:
    """How long a whole request may search in vain.

    To pack amounts of many sizes is as hard as a knapsack: there will be trees that no look-ahead decides
    in reasonable time. They are given up, and the more of them there are, the sooner.
    """

    def __init__(self) -> None:
        self._reserve = _RESERVE
        self.given_up = 0
        """Trees in which there may be more."""

    def lasts(self, tries: int) -> bool:
        """Whether to try on, after ``tries`` in this tree since something was found."""
        if tries <= _TRIES:
            return True
        self._reserve -= 1
        if self._reserve > 0:
            return True
        self.given_up += 1
        return False


class Search:
    """The slots of one tree, being filled."""

    def __init__(
        self, request: Request, slots: Sequence[Slot], lines: Mapping[str, tuple[str, ...]]
    ) -> None:
        """``lines`` has for each provider its UUID and its ancestors', upwards."""
        # The slots with the fewest options go first: their dead ends show soonest.
        self._slots = sorted(slots, key=lambda slot: len(slot.options))
        self._lines = lines
        self._isolate = request.isolate
        self._nested = request.nested
        self._subtrees = request.same_subtree
        loose = next((group for group in request.groups if not group.suffix), None)
        self._traits = loose.required if loose else ()
        self._chosen: list[Provider] = []
        self._taken: dict[tuple[str, str], int] = {}
        asked = [name for slot in slots for name in slot.amounts]
        self._contended = sorted({name for name in asked if asked.count(name) > 1})

    def fillings(self, patience: Patience) -> Iterator[tuple[tuple[Slot, Provider], ...]]:
        """Yield every way to fill all slots, lazily."""
        if not self._can_go_on():
            return
        tries = 0
        trying = [iter(self._slots[0].options)]
        while trying:
            # ``trying[n]`` has the options left for slot n, while slots before it are filled.
            for provider in trying[-1]:
                tries += 1
                if self._put(provider):
                    break
                if not patience.lasts(tries):
                    return
            else:
                trying.pop()
                if self._chosen:
                    self._take_back()
                continue
            if len(self._chosen) < len(self._slots):
                trying.append(iter(self._slots[len(self._chosen)].options))
                continue
            yield tuple(zip(self._slots, self._chosen, strict=True))
            tries = 0
            self._take_back()

    def _put(self, provider: Provider) -> bool:
        """Fill the next slot, unless that leads nowhere."""
        slot = self._slots[len(self._chosen)]
        for name in self._contended:
            amount = slot.amounts.get(name, 0)
            if amount and amount > self._left(provider, name):
                return False
        if self._isolate and slot.suffix and provider in self._isolated():
            return False
        if not self._nested and any(
            other.root == provider.root and other.uuid != provider.uuid for other in self._chosen
        ):
            return False
        self._count(slot, provider, 1)
        self._chosen.append(provider)
        if self._can_go_on():
            return True
        self._take_back()
        return False

    def _take_back(self) -> None:
        provider = self._chosen.pop()
        self._count(self._slots[len(self._chosen)], provider, -1)

    def _count(self, slot: Slot, provider: Provider, sign: int) -> None:
        for name in self._contended:
            if name in slot.amounts:
                key = provider.uuid, name
                self._taken[key] = self._taken.get(key, 0) + sign * slot.amounts[name]

    def _left(self, provider: Provider, name: str) -> int:
        return provider.stock[name].most - self._taken.get((provider.uuid, name), 0)

    def _isolated(self) -> list[Provider]:
        return [
            provider
            for slot, provider in zip(self._slots, self._chosen, strict=False)
            if slot.suffix
        ]

    def _can_go_on(self) -> bool:
        """Whether nothing speaks against the open slots. True is no promise."""
        opened = self._slots[len(self._chosen) :]
        return (
            all(self._have_room(opened, name) for name in self._contended)
            and (not self._isolate or self._have_own_places(opened))
            and all(self._have_a_top(opened, suffixes) for suffixes in self._subtrees)
            and (not self._traits or self._have_traits(opened))
        )

    def _have_room(self, opened: Sequence[Slot], name: str) -> bool:
        """Whether the slots that ask for a class could all get it, were their amounts well sorted."""
        asking = [slot for slot in opened if name in slot.amounts]
        if not asking:
            return True
        sums = list(accumulate(sorted(slot.amounts[name] for slot in asking)))
        left: dict[str, int] = {}
        places: list[list[str]] = []
        for slot in asking:
            fitting = []
            for provider in slot.options:
                if provider.uuid not in left:
                    left[provider.uuid] = self._left(provider, name)
                if left[provider.uuid] >= slot.amounts[name]:
                    fitting.append(provider.uuid)
            places.append(fitting)
        if sums[-1] > sum(left.values()):
            return False
        # As many as the smallest amounts would be: no provider takes more slots than that.
        return matches(places, {uuid: bisect_right(sums, rest) for uuid, rest in left.items()})

    def _have_own_places(self, opened: Sequence[Slot]) -> bool:
        occupied = {provider.uuid for provider in self._isolated()}
        places = [
            [option.uuid for option in slot.options if option.uuid not in occupied]
            for slot in opened
            if slot.suffix
        ]
        return matches(places, {uuid: 1 for fitting in places for uuid in fitting})

    def _have_a_top(self, opened: Sequence[Slot], suffixes: frozenset[str]) -> bool:
        """Whether some provider can stand above, or be, all that serve these groups."""
        filled = zip(self._slots, self._chosen, strict=False)
        chosen = [provider.uuid for slot, provider in filled if slot.suffix in suffixes]
        if not chosen:
            return True
        waiting = [slot for slot in opened if slot.suffix in suffixes]
        eligible = {option.uuid for slot in waiting for option in slot.options} | set(chosen)
        return any(
            top in eligible
            and all(top in self._lines[uuid] for uuid in chosen)
            and all(any(top in self._lines[o.uuid] for o in slot.options) for slot in waiting)
            for top in self._lines[chosen[0]]
        )

    def _have_traits(self, opened: Sequence[Slot]) -> bool:
        """Whether the providers of the group without a suffix can have its traits between them."""
        filled = zip(self._slots, self._chosen, strict=False)
        serving = [provider for slot, provider in filled if not slot.suffix]
        serving += [option for slot in opened if not slot.suffix for option in slot.options]
        return all(
            any(not wanted.isdisjoint(provider.traits) for provider in serving)
            for wanted in self._traits
        )


def matches(places: Sequence[Sequence[str]], seats: Mapping[str, int]) -> bool:
    """Whether each of some guests gets one of its ``places``, when each place has so many ``seats``.

    Places guests one by one; a guest that finds all its places full makes one who sits there move on, if
    that one has somewhere else to go (augmenting paths).
    """
    if all(len(fitting) >= len(places) for fitting in places):
        # Each guest finds an empty place whatever the others do: every place has a seat for whom it fits.
        return True
    sitting: dict[str, list[int]] = {}
    return all(_seat(guest, places, seats, sitting) for guest in range(len(places)))


def _seat(
    guest: int,
    places: Sequence[Sequence[str]],
    seats: Mapping[str, int],
    sitting: dict[str, list[int]],
) -> bool:
    """Seat one more guest along a shortest chain of moves."""
    came: dict[str, tuple[int, str | None]] = {}
    waiting: list[tuple[int, str | None]] = [(guest, None)]
    for mover, origin in waiting:
        for place in places[mover]:
            if place in came:
                continue
            came[place] = mover, origin
            if len(sitting.setdefault(place, [])) < seats[place]:
                _move(place, came, sitting)
                return True
            waiting += [(other, place) for other in sitting[place]]
    return False


def _move(
    place: str | None, came: Mapping[str, tuple[int, str | None]], sitting: dict[str, list[int]]
) -> None:
    while place is not None:
        mover, origin = came[place]
        if origin is not None:
            sitting[origin].remove(mover)
        sitting[place].append(mover)
        place = origin
