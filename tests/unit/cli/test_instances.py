"""How ``kilonova instances`` puts figures into words."""

import testtools

from kilonova.cli.instances import bar, share, span


class TextsTest(testtools.TestCase):
    """Of single figures."""

    def test_a_span_is_told_in_the_units_that_it_fills(self) -> None:
        for seconds, text in (
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3600, "1h 0m 0s"),
            (152 * 86400 + 5 * 3600 + 52 * 60 + 41, "152d 5h 52m 41s"),
        ):
            self.assertEqual(text, span(seconds))

    def test_a_share_is_told_in_percent_and_in_a_unit_that_fits(self) -> None:
        for told, text in (
            (None, ""),
            ({"used": 85, "size": 2048}, "4% (85 MiB)"),
            ({"used": 0, "size": 0}, "(0 MiB)"),
            ({"used": 20480, "size": 40960}, "50% (20.0 GiB)"),
        ):
            self.assertEqual(text, share(told))

    def test_a_bar_fills_with_the_hosts_that_answered(self) -> None:
        self.assertEqual(f"[{' ' * 30}] queued, 0 of 0 hosts", bar("queued", 0, 0))
        half = f"[{'#' * 15}{' ' * 15}] processing, 100 of 200 hosts"
        self.assertEqual(half, bar("processing", 100, 200))
        self.assertTrue(bar("processing", 200, 200).startswith(f"[{'#' * 30}]"))
