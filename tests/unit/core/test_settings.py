"""The options: their names, how many they are, and how they are read."""

import ast
import tempfile
from pathlib import Path

import testtools
from oslo_config import cfg

import kilonova
from kilonova.core import options as table
from kilonova.core.options import GROUPS
from kilonova.core.settings import list_options, new_config, read_config
from kilonova.scheduler.multipliers import KEYS

NAMES = {
    "DEFAULT": {"host", "state_path", "my_ip", "report_interval", "service_down_time"},
    "api": {"auth_strategy", "max_limit", "compute_link_prefix"},
    "compute_api": {"bind_host", "bind_port", "workers", "threads"},
    "placement_api": {"bind_host", "bind_port", "workers", "threads"},
    "api_database": {"connection"},
    "database": {"connection"},
    "placement_database": {"connection"},
    "quota": {"instances", "cores", "ram", "key_pairs", "metadata_items"},
    "scheduler": {"max_attempts", "max_placement_results"},
    "filter_scheduler": {"enabled_filters", "ram_weight_multiplier", "host_subset_size"},
    "compute": {"driver"},
    "libvirt": {"connection_uri", "virt_type"},
    "fake": {"script"},
}
"""What operators' files and scripts name already."""


class OptionsTest(testtools.TestCase):
    """The table of all options."""

    def test_there_are_fewer_than_eighty(self) -> None:
        self.assertLess(sum(len(options) for options in GROUPS.values()), 80)

    def test_the_names_that_scripts_rely_on_are_there(self) -> None:
        for group, names in NAMES.items():
            self.assertLessEqual(names, {option.dest for option in GROUPS[group]}, group)

    def test_every_option_is_told_in_a_sentence(self) -> None:
        for group, options in GROUPS.items():
            for option in options:
                self.assertRegex(option.help or "", r"^\S.*\.$", f"[{group}] {option.dest}")

    def test_every_default_is_a_value_that_may_be_given(self) -> None:
        conf = new_config()
        conf([])
        for group, options in GROUPS.items():
            for option in options:
                where = conf if group == "DEFAULT" else conf[group]
                default = where[option.dest]
                if default is not None and not isinstance(default, list):
                    option.type(str(default))

    def test_what_may_hold_a_password_is_not_logged(self) -> None:
        for group in ("api_database", "database", "placement_database"):
            self.assertTrue(GROUPS[group][0].secret, group)

    def test_every_option_is_read_by_something(self) -> None:
        said: set[str] = set()
        for path in Path(kilonova.__path__[0]).rglob("*.py"):
            if path == Path(table.__file__):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute):
                    said.add(node.attr)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    said.add(node.target.id)
        # Other options' defaults are made of it.
        said.add("state_path")
        # The recipe reads these by their names, which aggregates may use, too.
        said.update(KEYS.values())
        unread = [
            f"[{group}] {option.dest}"
            for group, options in GROUPS.items()
            for option in options
            if option.dest not in said
        ]
        self.assertEqual([], unread)

    def test_the_sample_generator_gets_every_group(self) -> None:
        self.assertEqual(list(GROUPS), [group for group, _ in list_options()])

    def test_times_and_sizes_below_their_least_are_refused(self) -> None:
        conf = new_config()
        conf([])
        for name, group, value in (
            ("report_interval", None, 0),
            ("service_down_time", None, 1),
            ("bind_port", "compute_api", 65536),
            ("workers", "placement_api", 0),
            ("instances", "quota", -2),
            ("cpu_allocation_ratio", None, 0),
            ("driver", "compute", "xen"),
            ("auth_strategy", "api", "none"),
        ):
            self.assertRaises(ValueError, conf.set_override, name, value, group)


class ReadingTest(testtools.TestCase):
    """Files and arguments."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def _file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def _read(self, *files: str, default_files: tuple[str, ...] = ()) -> cfg.ConfigOpts:
        words = [word for name in files for word in ("--config-file", name)]
        return read_config(words, prog="kilonova-test", default_files=default_files)

    def test_a_file_says_what_differs_from_the_defaults(self) -> None:
        conf = self._read(
            self._file("a", "[quota]\ncores = -1\n[DEFAULT]\nram_allocation_ratio = 1.5\n")
        )
        self.assertEqual((-1, 10), (conf.quota.cores, conf.quota.instances))
        self.assertEqual(1.5, conf.ram_allocation_ratio)
        self.assertIsNone(conf.database.connection)

    def test_the_last_of_several_files_wins(self) -> None:
        first = self._file("a", "[quota]\ncores = 1\nram = 1\n")
        conf = self._read(first, self._file("b", "[quota]\ncores = 2\n"))
        self.assertEqual((2, 1), (conf.quota.cores, conf.quota.ram))

    def test_default_files_are_read_where_they_exist_and_no_file_is_given(self) -> None:
        usual = self._file("usual", "[quota]\ncores = 7\n")
        missing = str(self.directory / "missing")
        self.assertEqual(7, self._read(default_files=(usual, missing)).quota.cores)
        self.assertEqual(20, self._read(default_files=(missing,)).quota.cores)
        given = self._file("given", "[quota]\nram = 1\n")
        self.assertEqual(20, self._read(given, default_files=(usual,)).quota.cores)

    def test_a_file_that_is_missing_or_malformed_is_an_error(self) -> None:
        self.assertRaises(cfg.Error, self._read, str(self.directory / "missing"))
        self.assertRaises(cfg.Error, self._read, self._file("bad", "cores = 1\n[quota\n"))

    def test_paths_below_the_state_directory_follow_it(self) -> None:
        conf = self._read(self._file("a", "[DEFAULT]\nstate_path = /srv/k\n"))
        self.assertEqual("/srv/k/instances", conf.instances_path)

    def test_two_configurations_share_nothing(self) -> None:
        one = self._read(self._file("a", "[quota]\ncores = 1\n"))
        other = self._read(self._file("b", "[quota]\ncores = 2\n"))
        self.assertEqual((1, 2), (one.quota.cores, other.quota.cores))
