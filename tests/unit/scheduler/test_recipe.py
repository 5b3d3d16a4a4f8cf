"""The recipe that the configuration describes."""

import testtools
from oslo_config import cfg

from kilonova.core import settings
from kilonova.core.errors import Invalid
from kilonova.scheduler import filters, recipe, weighers


class RecipeTest(testtools.TestCase):
    """Filters by name, weighers by multiplier."""

    def setUp(self) -> None:
        super().setUp()
        self.conf: cfg.ConfigOpts = settings.new_config()
        self.conf([])

    def test_the_usual_recipe(self) -> None:
        made = recipe.load(self.conf)
        self.assertEqual(
            (
                ("requested host", filters.forced),
                ("ComputeFilter", filters.compute),
                ("AvailabilityZoneFilter", filters.availability_zone),
                ("ComputeCapabilitiesFilter", filters.compute_capabilities),
                ("ImagePropertiesFilter", filters.image_properties),
            ),
            made.filters,
        )
        self.assertEqual(
            ((weighers.ram, 1.0), (weighers.cpu, 1.0), (weighers.disk, 1.0)), made.weighers
        )
        self.assertEqual(1, made.subset_size)

    def test_filters_are_asked_in_the_order_that_is_configured(self) -> None:
        names = ["ImagePropertiesFilter", "ComputeFilter"]
        self.conf.set_override("enabled_filters", names, "filter_scheduler")
        self.assertEqual(
            ["requested host", *names], [name for name, _ in recipe.load(self.conf).filters]
        )

    def test_multipliers_and_the_subset_are_taken_over(self) -> None:
        for name, value in (
            ("ram_weight_multiplier", -1.0),
            ("cpu_weight_multiplier", 0.0),
            ("disk_weight_multiplier", 2.5),
            ("host_subset_size", 3),
        ):
            self.conf.set_override(name, value, "filter_scheduler")
        made = recipe.load(self.conf)
        self.assertEqual([-1.0, 0.0, 2.5], [multiplier for _, multiplier in made.weighers])
        self.assertEqual(3, made.subset_size)

    def test_a_filter_that_is_not_there_is_refused_by_name(self) -> None:
        self.conf.set_override("enabled_filters", ["NoSuchFilter"], "filter_scheduler")
        error = self.assertRaises(Invalid, recipe.load, self.conf)
        self.assertIn("NoSuchFilter", error.message)
