"""Reading the configuration: one table of options, which each service registers whole.

So one kilonova.conf serves every service.
"""

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from kilonova.core.errors import Invalid
from kilonova.core.options import GROUPS

DEFAULT_FILES = ("/etc/kilonova/kilonova.conf",)


def new_config() -> cfg.ConfigOpts:
    """Return a fresh configuration with every option registered and nothing read yet."""
    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    return conf


def read_config(
    arguments: Sequence[str], *, prog: str, default_files: Sequence[str] = DEFAULT_FILES
) -> cfg.ConfigOpts:
    """Parse ``--config-file`` and the like and return the configuration.

    Without ``--config-file`` the files of ``default_files`` that exist are read.

    Raises:
        oslo_config.cfg.Error: a file is missing or malformed.
        Invalid: an option has a value that it cannot have; the sentence names it.
    """
    conf = new_config()
    # Libraries register what they own (logging, messaging) before the command line is parsed.
    log.register_options(conf)
    conf(
        list(arguments),
        project="kilonova",
        prog=prog,
        default_config_files=_existing(default_files),
    )
    _check(conf)
    return conf


def _check(conf: cfg.ConfigOpts) -> None:
    """Read every option once: a wrong value is told when a service starts, not when it is needed."""
    for group, options in GROUPS.items():
        for option in options:
            try:
                getattr(conf if group == "DEFAULT" else conf[group], option.dest)
            except cfg.Error as error:
                reason = error.__context__ or error
                raise Invalid(f"[{group}] {option.name}: {reason}") from error


def _existing(files: Sequence[str]) -> list[str]:
    return [name for name in files if Path(name).exists()]


def list_options() -> list[tuple[str, list[cfg.Opt]]]:
    """Return (group, options) pairs for oslo.config's sample generator."""
    return list(GROUPS.items())
