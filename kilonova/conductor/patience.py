"""How long the converger waits before it takes something to have stopped moving."""

from datetime import timedelta

UNTOUCHED = timedelta(seconds=15)
"""A build request that no conductor took up for so long is driven again."""

NOT_BEGUN = timedelta(seconds=30)
"""A build that its host did not begin for so long is sent again, under the next epoch."""

NOT_DELETED = timedelta(seconds=30)
"""A delete that its host did not answer for so long is sent again."""

NOT_DONE = timedelta(seconds=300)
"""A stop, start or reboot that its host did not answer for so long is given up."""
