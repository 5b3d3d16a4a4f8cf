"""How the services of a world are configured, and how long they wait for each other."""

import functools
import tempfile
from datetime import timedelta
from pathlib import Path

import testtools
from oslo_config import cfg
from oslo_policy import policy

from kilonova.api import policies as api_policies
from kilonova.compute import service
from kilonova.conductor import move_starter, patience, super_conductor
from kilonova.core import settings
from kilonova.db import build_requests, moves
from kilonova.placement import policies as placement_policies

_CONF = """\
[DEFAULT]
report_interval = 10
service_down_time = 25
converge_interval = {interval}
instance_build_timeout = 400
cpu_allocation_ratio = 1.0
reserved_host_memory_mb = 0
[api]
auth_strategy = noauth2
[placement_api]
randomize_allocation_candidates = false
[scheduler]
host_refresh_interval = 10
[quota]
instances = 14
cores = -1
ram = -1
"""
_FENCED = """\
[ha]
evacuate_on_host_failure = always
fence_command = fence
"""


@functools.cache
def configuration(*, desired: bool = False, fenced: bool = False) -> cfg.ConfigOpts:
    """Return how services are configured.

    Where servers are desired there is room for them, and the converger, which starts them, has more to do.
    """
    hosts = Path(__file__).with_name("roomy_hosts.yaml" if desired else "hosts.yaml")
    fake = f"[fake]\nscript = {hosts}\n"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(_CONF.format(interval=4 if desired else 10) + fake + _FENCED * fenced)
        file.flush()
        return settings.read_config(["--config-file", file.name], prog="kilonova")


@functools.cache
def enforcers() -> tuple[policy.Enforcer, policy.Enforcer]:
    """Return the API's and Placement's, whose files nobody changes: they are not looked for again."""
    conf = configuration()
    both = api_policies.enforcer_for(conf), placement_policies.enforcer_for(conf)
    for enforcer in both:
        enforcer.load_rules()
        enforcer.use_conf = False
    return both


def hasten(case: testtools.TestCase) -> None:
    """Shorten what is waited for, all in the same measure, so that more happens in a storm."""
    for name, seconds in (
        ("UNTOUCHED", 5),
        ("NOT_BEGUN", 10),
        ("NOT_DELETED", 10),
        ("NOT_DONE", 60),
        ("NOT_DONE_BY_SILENT", 30),
        ("STANDS_STILL", 20),
        ("HOST_LOST", 50),
    ):
        case.patch(patience, name, timedelta(seconds=seconds))
    case.patch(service, "_LOOKS_EVERY", 60.0)
    case.patch(build_requests, "LEASE", timedelta(seconds=20))
    case.patch(moves, "LEASE", timedelta(seconds=20))
    case.patch(super_conductor, "_SCHEDULING_TIMEOUT", 18.0)
    case.patch(move_starter, "_SCHEDULING_TIMEOUT", 18.0)
