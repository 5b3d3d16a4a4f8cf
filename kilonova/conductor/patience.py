"""How long the converger waits before it takes something to have stopped moving, and looks again."""

from datetime import timedelta

UNTOUCHED = timedelta(seconds=15)
"""A build request that no conductor took up for so long is driven again."""

NOT_BEGUN = timedelta(seconds=30)
"""A build that its host did not begin for so long is sent again, under the next epoch."""

NOT_DELETED = timedelta(seconds=30)
"""A delete that its host did not answer for so long is sent again."""

NOT_DONE = timedelta(seconds=300)
"""A task that its host said nothing of for so long is given up."""

NOT_DONE_BY_SILENT = timedelta(seconds=60)
"""The same where the host gives no sign of life either."""

STANDS_STILL = timedelta(seconds=30)
"""A move of which nothing was heard for so long is sent on. Hosts say every ten that one is in hand."""

NOT_ATTACHED = timedelta(seconds=60)
"""A volume, a share or a card of which nothing was heard for so long on its way: its host is told again."""

UNTAKEN = timedelta(seconds=5)
"""An operator's task that no conductor took for so long is sent on."""

WORKER_SILENT = timedelta(seconds=60)
"""Who does an operator's task and said nothing for so long is no more."""

MIRRORED_EVERY = timedelta(seconds=60)
"""From one comparison of the aggregates and the disabled hosts with Placement's to the next."""

PORTS_EVERY = timedelta(seconds=300)
"""From one look at all ports of the network service's to the next."""

PRUNED_EVERY = timedelta(seconds=60)
"""From one look at whether something is old enough to be forgotten to the next."""

HOST_LOST = timedelta(seconds=60)
"""A host that gave no sign of life for so long, and for twice the time after which it is down, is not
waited for where there are no fences: the desired servers that it has are started elsewhere."""
