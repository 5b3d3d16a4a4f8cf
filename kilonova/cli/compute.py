"""``kilonova-compute``: the service of one hypervisor, or of the pretended ones in ``[fake] script``."""

import sys
from functools import partial

from kilonova.cli.service import configure, run
from kilonova.compute.service import ComputeService, create_services
from kilonova.http import images
from kilonova.placement import client
from kilonova.rpc import probe
from kilonova.rpc.connect import Buses

_PROG = "kilonova-compute"


def main() -> None:
    """Run until SIGTERM."""
    conf = configure(sys.argv[1:], _PROG)
    placement = client.load(conf)

    def create() -> list[ComputeService]:
        return create_services(conf, Buses(conf).default(), placement, images.load(conf))

    run(
        conf,
        _PROG,
        create,
        {"message bus": partial(probe.check, conf), "placement": placement.ping},
    )
