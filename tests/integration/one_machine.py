"""A whole deployment in this process, on a libvirt that is named, whose guests have network cards.

    one_machine.py STATE_DIR LIBVIRT_URI PORT

It listens on loopback from PORT on, says "ready", and ends at SIGTERM.
"""

import logging
import signal
import sys
import threading
from pathlib import Path

from kilonova.embedded.deployment import Deployment, Options
from kilonova.embedded.hypervisor import Hypervisor

_NETWORK = "[network]\nprovider = libvirt\nfixed_range = 10.77.0.0/24\n"


def main() -> None:
    """Serve until SIGTERM."""
    state, uri, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    logging.basicConfig(level=logging.INFO)
    hypervisor = Hypervisor(uri=uri, virt_type="qemu", shown="QEMU, emulating")
    ports = (port, port + 1, port + 2, port + 3, port + 4)
    options = Options(state_dir=state, ports=ports, hypervisor=hypervisor, more=_NETWORK)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    deployment = Deployment(options)
    deployment.start()
    print("ready", flush=True)
    while not ended.wait(1):
        pass
    deployment.stop()


if __name__ == "__main__":
    main()
