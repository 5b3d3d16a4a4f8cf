"""The recipe that the configuration describes."""

from importlib.metadata import entry_points

import testtools
from oslo_config import cfg

from kilonova.core import settings
from kilonova.core.errors import Invalid
from kilonova.scheduler import host_filters, neighbour_filters, recipe, weighers
from tests.unit.scheduler.fleet import NOW


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
                ("requested host", host_filters.forced),
                ("ComputeFilter", host_filters.compute),
                ("AvailabilityZoneFilter", host_filters.availability_zone),
                ("ComputeCapabilitiesFilter", host_filters.compute_capabilities),
                ("ImagePropertiesFilter", host_filters.image_properties),
                ("ServerGroupAntiAffinityFilter", neighbour_filters.group_anti_affinity),
                ("ServerGroupAffinityFilter", neighbour_filters.group_affinity),
            ),
            made.filters,
        )
        self.assertEqual(
            (
                ("RAMWeigher", weighers.ram, 1.0),
                ("CPUWeigher", weighers.cpu, 1.0),
                ("DiskWeigher", weighers.disk, 1.0),
                ("IoOpsWeigher", weighers.io_ops, -1.0),
                ("NumInstancesWeigher", weighers.num_instances, 0.0),
                ("BuildFailureWeigher", weighers.build_failure, 1000000.0),
                ("HypervisorVersionWeigher", weighers.hypervisor_version, 1.0),
                ("PCIWeigher", weighers.pci, 1.0),
                ("ImagePropertiesWeigher", weighers.image_properties, 0.0),
                ("MetricsWeigher", weighers.metrics, 1.0),
                ("ServerGroupSoftAffinityWeigher", weighers.soft_affinity, 10.0),
                ("ServerGroupSoftAntiAffinityWeigher", weighers.soft_anti_affinity, 10.0),
                ("CrossCellWeigher", weighers.cross_cell, 1000000.0),
            ),
            made.weighers,
        )
        self.assertEqual((1, 1000, False), (made.subset_size, made.most, made.packs))

    def _filters(self, *names: str) -> list[str]:
        self.conf.set_override("enabled_filters", list(names), "filter_scheduler")
        return [name for name, _ in recipe.load(self.conf).filters]

    def test_filters_are_asked_in_the_order_that_is_configured(self) -> None:
        names = ("ServerGroupAffinityFilter", "ComputeFilter", "ServerGroupAntiAffinityFilter")
        self.assertEqual(["requested host", *names], self._filters(*names))

    def test_the_filters_of_server_groups_are_asked_even_if_nobody_names_them(self) -> None:
        self.assertEqual(
            [
                "requested host",
                "ComputeFilter",
                "ServerGroupAntiAffinityFilter",
                "ServerGroupAffinityFilter",
            ],
            self._filters("ComputeFilter"),
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
        self.assertEqual([-1.0, 0.0, 2.5], [multiplier for _, _, multiplier in made.weighers[:3]])
        self.assertEqual((3, True), (made.subset_size, made.packs))

    def test_a_filter_that_is_not_there_is_refused_by_name(self) -> None:
        self.conf.set_override("enabled_filters", ["NoSuchFilter"], "filter_scheduler")
        error = self.assertRaises(Invalid, recipe.load, self.conf)
        self.assertIn("NoSuchFilter", error.message)

    def test_a_weigher_that_is_not_there_is_refused_by_name(self) -> None:
        self.conf.set_override("weight_classes", ["NoSuchWeigher"], "filter_scheduler")
        error = self.assertRaises(Invalid, recipe.load, self.conf)
        self.assertIn("NoSuchWeigher", error.message)

    def test_weighers_are_chosen_by_name_or_by_the_path_of_a_class(self) -> None:
        for given, expected in (
            (["CPUWeigher", "RAMWeigher", "CPUWeigher"], ["CPUWeigher", "RAMWeigher"]),
            (["nova.scheduler.weights.disk.DiskWeigher"], ["DiskWeigher"]),
        ):
            self.conf.set_override("weight_classes", given, "filter_scheduler")
            made = recipe.load(self.conf)
            self.assertEqual(expected, [name for name, _, _ in made.weighers])
        every = ["nova.scheduler.weights.all_weighers"]
        self.conf.set_override("weight_classes", every, "filter_scheduler")
        self.assertEqual(13, len(recipe.load(self.conf).weighers))

    def test_every_filter_that_comes_with_kilonova_can_be_enabled(self) -> None:
        names = sorted(e.name for e in entry_points(group=recipe.FILTERS))
        self.assertEqual(18, len(names))
        self.conf.set_override("enabled_filters", names, "filter_scheduler")
        self.assertEqual(1 + 18, len(recipe.load(self.conf).filters))

    def test_a_moment_has_the_configured_limits(self) -> None:
        for name, group, value in (
            ("service_down_time", None, 7),
            ("max_io_ops_per_host", "filter_scheduler", 3),
            ("max_instances_per_host", "filter_scheduler", 4),
            ("weight_setting", "metrics", ["cpu.percent=-1.5"]),
        ):
            self.conf.set_override(name, value, group)
        now = recipe.moment(self.conf, NOW)
        self.assertEqual((NOW, 7), (now.now, now.down_after))
        self.assertEqual((3, 4), (now.max_io_ops_per_host, now.max_instances_per_host))
        self.assertEqual({"cpu.percent": -1.5}, now.metric_weights)

    def test_a_weight_of_a_metric_that_is_no_number_is_refused(self) -> None:
        self.conf.set_override("weight_setting", ["cpu.percent=much"], "metrics")
        error = self.assertRaises(Invalid, recipe.moment, self.conf, NOW)
        self.assertIn("much", error.message)
