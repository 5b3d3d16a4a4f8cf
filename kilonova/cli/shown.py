"""What a command shows: a table for people, or any of cliff's formats for programs."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from cliff.columns import FormattableColumn
from cliff.lister import Lister
from cliff.show import ShowOne

from kilonova.cli import cloud
from kilonova.cli.cloud import Cloud
from kilonova.core.errors import KilonovaError

FAILED = 255
"""The exit status of a command that could not do what it was asked."""

Columns = tuple[tuple[str, ...], tuple[Any, ...]]


class Told(FormattableColumn):  # type: ignore[misc]
    """A value for programs with its text for people."""

    def __init__(self, value: Any, text: str) -> None:
        super().__init__(value)
        self._text = text

    def human_readable(self) -> str:
        """Return the text."""
        return self._text


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, Told) and not value.human_readable())


class _Terminal:
    """All that cliff asks of an application."""

    @property
    def stdout(self) -> TextIO:
        return sys.stdout


class AsksCloud:
    """What is common to commands that ask a cloud. ``status`` is a command's exit status so far."""

    name = ""
    conflict_handler = "error"
    """cliff's own is one that argparse does not know."""

    def __init__(self) -> None:
        super().__init__(_Terminal(), None)  # type: ignore[call-arg]
        self.status = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        cloud.add_arguments(parser)
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that are the command's own."""
        raise NotImplementedError

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; return its exit status, which is 255 for an error."""
        try:
            super().run(parsed_args)  # type: ignore[misc]
        except KilonovaError as error:
            print(f"kilonova {self.name}: {error}", file=sys.stderr)
            return FAILED
        except ValueError as error:
            # cliff's, for a column that there is not.
            print(f"kilonova {self.name}: {error}", file=sys.stderr)
            return FAILED
        return self.status


class CloudCommand(AsksCloud, ShowOne):  # type: ignore[misc]
    """A command that asks a cloud and shows one thing."""

    def take_action(self, parsed_args: argparse.Namespace) -> Columns:
        """Ask, and return what is shown: names, values."""
        told = self.ask(cloud.connect(parsed_args), parsed_args)
        if parsed_args.formatter == "table":
            told = {name: value for name, value in told.items() if not _is_empty(value)}
        return tuple(told), tuple(told.values())

    def ask(self, where: Cloud, options: argparse.Namespace) -> Mapping[str, Any]:
        """Return what is shown, by name.

        Raises:
            KilonovaError: it cannot be done; the sentence says why.
        """
        raise NotImplementedError


class CloudList(AsksCloud, Lister):  # type: ignore[misc]
    """A command that asks a cloud and shows many things, one a row."""

    columns: tuple[str, ...] = ()

    def take_action(self, parsed_args: argparse.Namespace) -> Columns:
        """Ask, and return what is shown: names, rows."""
        rows = self.rows(cloud.connect(parsed_args), parsed_args)
        return self.columns, tuple(rows)

    def rows(self, where: Cloud, options: argparse.Namespace) -> Iterable[tuple[Any, ...]]:
        """Return what is shown, a value for each column.

        Raises:
            KilonovaError: it cannot be done; the sentence says why.
        """
        raise NotImplementedError
