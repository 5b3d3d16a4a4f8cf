"""The host aggregates in Placement: whatever the API could not tell it when a host was moved.

Owns the comparison of all aggregates with what Placement has, once in a while. Providers that are no
compute node of ours are left as they are: shared storage is in our aggregates, too.
"""

import itertools
import logging

from kilonova.core.aggregate import uuids_with
from kilonova.db import aggregates, hosts
from kilonova.db.cells import Cells
from kilonova.db.engine import Database
from kilonova.db.scatter import gather
from kilonova.placement.client import Placement

LOG = logging.getLogger(__name__)


def repair(api_db: Database, cells: Cells, placement: Placement) -> int:
    """Make Placement's aggregates what the host aggregates are, of the cells that answer.

    It asks once for each aggregate. Returns how many providers were changed.

    Raises:
        DatabaseUnavailable: the API database does not answer.
        PlacementUnavailable: no answer.
        KilonovaError: Placement refuses a change.
    """
    groups = aggregates.list_aggregates(api_db)
    if not groups:
        return 0
    answers = gather(cells, hosts.providers_of).answers.values()
    host_of = dict(itertools.chain.from_iterable(answer.items() for answer in answers))
    wrong = set()
    for group in groups:
        hosts_in_it = set(group.hosts)
        should = {provider for provider, host in host_of.items() if host in hosts_in_it}
        wrong |= should ^ (placement.members_of(group.uuid) & host_of.keys())
    ours = [group.uuid for group in groups]
    changed = [
        provider
        for provider in sorted(wrong)
        if placement.join(provider, uuids_with(groups, host_of[provider]), among=ours)
    ]
    if changed:
        LOG.info("Put into their aggregates in Placement: %s", ", ".join(changed))
    return len(changed)
