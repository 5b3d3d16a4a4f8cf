"""Builds the recipe from the configuration.

Filters and weighers are found by name, so that others can be added from outside.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oslo_config import cfg
from stevedore import NamedExtensionManager

from kilonova.core.errors import Invalid
from kilonova.scheduler import host_filters
from kilonova.scheduler.filters import Moment
from kilonova.scheduler.multipliers import KEYS
from kilonova.scheduler.pipeline import Recipe

FILTERS = "kilonova.scheduler.filters"
WEIGHERS = "kilonova.scheduler.weighers"
_ALL = "all_weighers"
_GROUPS = ("ServerGroupAntiAffinityFilter", "ServerGroupAffinityFilter")
_ROOM = ("RAMWeigher", "CPUWeigher", "DiskWeigher")


def load(conf: cfg.ConfigOpts) -> Recipe:
    """Return the recipe that ``[filter_scheduler]`` describes.

    Raises:
        Invalid: naming a filter or a weigher that is not there.
    """
    options = conf.filter_scheduler
    # Last, if they are not named: what a server group is for holds whatever is configured.
    filters = list(dict.fromkeys([*options.enabled_filters, *_GROUPS]))
    multipliers = _multipliers(options)
    weighers: list[str] = []
    for words in options.weight_classes:
        # Whoever comes from a path of classes has the name behind the last dot.
        name = words.rpartition(".")[2]
        weighers += multipliers if name == _ALL else [name]
    weighers = list(dict.fromkeys(weighers))
    return Recipe(
        filters=(
            # First, because a request that names its host can be refused by nothing cheaper.
            ("requested host", host_filters.forced),
            *zip(
                filters,
                _found(FILTERS, filters, "enabled_filters"),
                strict=True,
            ),
        ),
        weighers=tuple(
            # One that was added from outside has no option of its own.
            (name, weigh, multipliers.get(name, 1.0))
            for name, weigh in zip(
                weighers, _found(WEIGHERS, weighers, "weight_classes"), strict=True
            )
        ),
        subset_size=options.host_subset_size,
        most=conf.scheduler.max_placement_results,
        packs=min(multipliers[name] for name in _ROOM) < 0,
    )


def _found(namespace: str, names: Sequence[str], option: str) -> list[Any]:
    chosen = {one.name: one.plugin for one in NamedExtensionManager(namespace, list(names))}
    for name in names:
        if name not in chosen:
            raise Invalid(f"[filter_scheduler] {option}: there is no {name!r}.")
    return [chosen[name] for name in names]


def _multipliers(options: Any) -> dict[str, float]:
    """Return the multiplier of each weigher that comes with kilonova, in the order of asking."""
    # MetricsWeigher has no option: each metric has a multiplier in weight_setting.
    return {name: getattr(options, key, 1.0) for name, key in KEYS.items()}


def moment(conf: cfg.ConfigOpts, now: datetime) -> Moment:
    """Return a moment with the configured limits.

    Raises:
        Invalid: a weight of a metric is no number.
    """
    pairs = [words.partition("=") for words in conf.metrics.weight_setting]
    try:
        weights = {name.strip(): float(multiplier) for name, _, multiplier in pairs}
    except ValueError as error:
        raise Invalid(f"[metrics] weight_setting: {error}") from error
    return Moment(
        now=now,
        down_after=conf.service_down_time,
        max_io_ops_per_host=conf.filter_scheduler.max_io_ops_per_host,
        max_instances_per_host=conf.filter_scheduler.max_instances_per_host,
        metric_weights=weights,
    )
