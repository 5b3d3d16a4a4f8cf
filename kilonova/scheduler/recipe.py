"""Builds the recipe from the configuration. Filters are found by name, so others can be added."""

from oslo_config import cfg
from stevedore import NamedExtensionManager

from kilonova.core.errors import Invalid
from kilonova.scheduler import filters, weighers
from kilonova.scheduler.pipeline import Recipe

NAMESPACE = "kilonova.scheduler.filters"


def load(conf: cfg.ConfigOpts) -> Recipe:
    """Return the recipe that ``[filter_scheduler]`` describes.

    Raises:
        Invalid: naming a filter that is not there.
    """
    options = conf.filter_scheduler
    names = list(options.enabled_filters)
    found = NamedExtensionManager(NAMESPACE, names)
    chosen = {extension.name: extension.plugin for extension in found}
    for name in names:
        if name not in chosen:
            raise Invalid(f"[filter_scheduler] enabled_filters: there is no filter {name!r}.")
    return Recipe(
        filters=(
            # First, because a request that names its host can be refused by nothing cheaper.
            ("requested host", filters.forced),
            *((name, chosen[name]) for name in names),
        ),
        weighers=(
            (weighers.ram, options.ram_weight_multiplier),
            (weighers.cpu, options.cpu_weight_multiplier),
            (weighers.disk, options.disk_weight_multiplier),
        ),
        subset_size=options.host_subset_size,
    )
