"""The host aggregates in Placement: whatever the API could not tell it when a host was moved.

Looked at once in a while, as it asks Placement once for each aggregate. Providers that are no compute node
of ours are left as they are: shared storage is in our aggregates, too.
"""

import itertools
from collections.abc import Collection, Iterator
from functools import partial

from kilonova.conductor import patience
from kilonova.conductor.repairs.scene import Finding, Scene
from kilonova.core.aggregate import uuids_with
from kilonova.core.ids import ProviderUuid
from kilonova.db import aggregates, hosts
from kilonova.db.scatter import gather


def not_mirrored(scene: Scene) -> Iterator[Finding]:
    """Find hosts, of the cells that answer, that are not in Placement's aggregates as in ours."""
    groups = aggregates.list_aggregates(scene.api_db) if _is_due(scene) else ()
    if not groups:
        return
    answers = gather(scene.cells, hosts.providers_of).answers.values()
    host_of = dict(itertools.chain.from_iterable(answer.items() for answer in answers))
    wrong = set()
    for group in groups:
        hosts_in_it = set(group.hosts)
        should = {provider for provider, host in host_of.items() if host in hosts_in_it}
        wrong |= should ^ (scene.placement.members_of(group.uuid) & host_of.keys())
    ours = [group.uuid for group in groups]
    for provider in sorted(wrong):
        wanted = uuids_with(groups, host_of[provider])
        mend = partial(_join, scene, provider, wanted, ours)
        yield Finding(provider, f"{host_of[provider]} is in other aggregates in Placement", mend)


def _is_due(scene: Scene) -> bool:
    return scene.is_due(patience.MIRRORED_EVERY)


def _join(
    scene: Scene, provider: ProviderUuid, wanted: Collection[str], ours: Collection[str]
) -> str | None:
    changed = scene.placement.join(provider, wanted, among=ours)
    return "put into its aggregates in Placement" if changed else None
