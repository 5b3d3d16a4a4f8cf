"""What a world is made of, and what goes on in it beside people's servers: it follows from the seed.

Most worlds are small: what goes wrong between parts does so between few of them, and more storms find more.
"""

from collections.abc import Mapping
from typing import NamedTuple

_OF_EIGHT = 8
_LARGE = 0
_WITH_DESIRED = (3, 6, 7)
_FENCED = (6, 7)
_CLOCKS_JUMP = (1, 4, 7)


class Layout(NamedTuple):
    """A world. ``hosts`` says in which cell each is, ``blows`` how many seconds its storm lasts.

    In a ``fenced`` one hosts that die are fenced, and evacuated. In one with ``desired`` servers somebody
    scales them up and down. One that ``rests_long`` is judged only when all that is late has come. Where
    ``clocks_jump``, those of services do, until it is calm.
    """

    hosts: Mapping[str, str]
    people: int
    blows: float
    desired: bool = False
    fenced: bool = False
    rests_long: bool = False
    clocks_jump: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells with hosts."""
        return tuple(dict.fromkeys(self.hosts.values()))

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases that are used."""
        return ("api", "cell0", *self.cells, "placement")


LARGE = Layout(
    {"h1": "cell1", "h2": "cell1", "h3": "cell2", "h4": "cell2"},
    people=3,
    blows=90.0,
    rests_long=True,
)


def layout_of(seed: int) -> Layout:
    """Return the world of a seed."""
    kind = seed % _OF_EIGHT
    jump = kind in _CLOCKS_JUMP
    if kind == _LARGE:
        return LARGE
    if kind in _WITH_DESIRED:
        hosts = {"h1": "cell1", "h2": "cell1", "h3": "cell1"}
        return Layout(
            hosts, people=1, blows=60.0, desired=True, fenced=kind in _FENCED, clocks_jump=jump
        )
    return Layout({"h1": "cell1", "h2": "cell1"}, people=2, blows=45.0, clocks_jump=jump)
