"""What a compute host can be told to do with a server that it has: one order for each action.

An order's name on the wire, ``do``, is the key of its rule in ``states.RULES``.
"""

import msgspec

from kilonova.core import states
from kilonova.core.states import Action


class Order(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """The root of all orders."""


class Stop(Order, frozen=True, kw_only=True, tag=str(Action.STOP)):
    """Shut the guest down: ask it first, then force it."""


class Start(Order, frozen=True, kw_only=True, tag=str(Action.START)):
    """Start a guest that is shut down."""


class SoftReboot(Order, frozen=True, kw_only=True, tag=states.SOFT_REBOOT):
    """Shut the guest down, and start it."""


class HardReboot(Order, frozen=True, kw_only=True, tag=states.HARD_REBOOT):
    """Cut the guest's power, make it anew from what is stored, and start it."""


class Pause(Order, frozen=True, kw_only=True, tag=str(Action.PAUSE)):
    """Let the guest stand still; its memory stays where it is."""


class Unpause(Order, frozen=True, kw_only=True, tag=str(Action.UNPAUSE)):
    """Let a paused guest go on."""


class Suspend(Order, frozen=True, kw_only=True, tag=str(Action.SUSPEND)):
    """Write the guest's memory to disk, and end it."""


class Resume(Order, frozen=True, kw_only=True, tag=str(Action.RESUME)):
    """Let a suspended guest go on where it was."""


AnyOrder = Stop | Start | SoftReboot | HardReboot | Pause | Unpause | Suspend | Resume


def rule_of(order: Order) -> str:
    """Return the key of an order's rule in ``states.RULES``."""
    return str(order.__struct_config__.tag)
