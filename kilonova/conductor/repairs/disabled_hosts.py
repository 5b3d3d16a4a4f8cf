"""Disabled hosts in Placement: what the API could not say there when an operator switched a host."""

import itertools
from collections.abc import Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.db import hosts
from kilonova.db.hosts import Switch
from kilonova.db.scatter import gather


def not_mirrored(scene: Scene) -> Iterator[Finding]:
    """Find hosts, of the cells that answer, that Placement offers though they are disabled, or does not
    though they are enabled."""
    if not scene.is_due(patience.MIRRORED_EVERY):
        return
    disabled = scene.placement.disabled_hosts()
    answers = gather(scene.cells, hosts.switches).answers
    for switch in itertools.chain.from_iterable(answers.values()):
        if switch.enabled == (switch.provider_uuid in disabled):
            differs = "is enabled, and disabled" if switch.enabled else "is disabled, and enabled"
            mend = partial(_tell, scene, switch)
            yield Finding(switch.provider_uuid, f"{switch.host} {differs} in Placement", mend)


def _tell(scene: Scene, found: Switch) -> str | None:
    """Tell Placement what holds now; the host may have been switched again since it was found."""
    answers = gather(scene.cells, partial(hosts.switches, host=found.host)).answers
    for now in itertools.chain.from_iterable(answers.values()):
        if now.provider_uuid == found.provider_uuid:
            changed = scene.placement.set_disabled(now.provider_uuid, not now.enabled)
            return "told to Placement" if changed else None
    return None
