"""``kilonova-compute``: the service of one hypervisor, or of the pretended ones in ``[fake] script``."""

import sys

from kilonova.cli.service import configure, run
from kilonova.compute.service import create_services
from kilonova.http import images
from kilonova.placement import client
from kilonova.rpc.connect import Buses

_PROG = "kilonova-compute"


def main() -> None:
    """Run until SIGTERM."""
    conf = configure(sys.argv[1:], _PROG)
    run(
        conf,
        _PROG,
        lambda: create_services(conf, Buses(conf).default(), client.load(conf), images.load(conf)),
    )
