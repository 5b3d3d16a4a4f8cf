"""``kilonova up``: a whole deployment in this process, and its first server."""

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from kilonova import __version__
from kilonova.core.errors import KilonovaError
from kilonova.embedded import hypervisor
from kilonova.embedded.boot_sector import disk_image
from kilonova.embedded.deployment import Deployment, Options
from kilonova.embedded.first_boot import FirstBoot

_USUAL_PORTS = (5000, 8774, 8778, 9292, 6080)


def _check(options: argparse.Namespace) -> None:
    if options.hosts < 1:
        sys.exit("kilonova up: --hosts must be at least 1")
    if options.hosts != 1 and options.driver != "fake":
        sys.exit("kilonova up: --hosts needs --driver fake: this machine is one libvirt host")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``kilonova up``."""
    parser.add_argument(
        "--once", action="store_true", help="end after the first server: 0 if it came up, else 1"
    )
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path.home() / ".local/share/kilonova",
        help="where everything is kept (%(default)s)",
    )
    parser.add_argument(
        "--port-base",
        type=int,
        metavar="N",
        help="identity at N, compute at N+1, placement at N+2, image at N+3, consoles at N+4 "
        "(5000, 8774, 8778, 9292, 6080)",
    )
    parser.add_argument("--driver", choices=("libvirt", "fake"), default="libvirt")
    parser.add_argument("--hosts", type=int, default=1, metavar="N", help="fake hosts to play")
    parser.add_argument(
        "--guest", type=Path, help="the image to register, qcow2; tools/up builds one"
    )


def run(options: argparse.Namespace) -> int:
    """Start everything, boot the first server, and serve until SIGINT or SIGTERM."""
    _check(options)
    state = options.state_dir.expanduser().absolute()
    state.mkdir(parents=True, exist_ok=True)
    log = state / "kilonova.log"
    logging.basicConfig(
        filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1) if ended.is_set() else ended.set())
    base = options.port_base
    ports = _USUAL_PORTS if base is None else (base, base + 1, base + 2, base + 3, base + 4)
    _say(f"kilonova {__version__}")
    deployment = None
    try:
        guest = _guest(options, state)
        found = None
        if options.driver == "libvirt":
            found = hypervisor.find(state, guest[0] if guest[1] == "qcow2" else None)
        deployment = Deployment(
            Options(state_dir=state, ports=ports, hosts=options.hosts, hypervisor=found)
        )
        began = time.monotonic()
        deployment.start()
        _say(f"  services   ready in {time.monotonic() - began:.1f} s on 127.0.0.1, log in {log}")
        _say(f"  host       {found.shown if found else f'{options.hosts} fake'}")
        _boot_first(deployment, guest)
        if not options.once:
            _tell_next(deployment)
            while not ended.wait(1.0):
                pass
            _say("\nStopping. Guests keep running; the next start finds them.")
    except KilonovaError as error:
        _say(f"\nkilonova up: {error}")
        _say(f"The log is in {log}")
        return 1
    finally:
        if deployment is not None:
            deployment.stop()
    return 0


def _guest(options: argparse.Namespace, state: Path) -> tuple[Path, str]:
    """Return the image to register: the one given, or the smallest that boots."""
    if options.guest is not None and options.guest.exists():
        return options.guest, "qcow2"
    path = state / "boot-sector.raw"
    path.write_bytes(disk_image())
    return path, "raw"


def _boot_first(deployment: Deployment, guest: tuple[Path, str]) -> None:
    user = FirstBoot(deployment, _say)
    user.prepare(guest)
    user.await_hosts(deployment.options.hosts)
    there = user.servers()
    if there:
        _say(f"\n{len(there)} server{'s' if len(there) > 1 else ''} from before:")
        for server in there:
            _say(f"  {server['name']:20} {server['status']}")
        return
    _say("\nThe first server")
    user.boot()


def _tell_next(deployment: Deployment) -> None:
    _say("\nNext, in another terminal, with python-openstackclient installed:")
    _say(f"  export OS_CLIENT_CONFIG_FILE={deployment.clouds_yaml} OS_CLOUD=kilonova")
    _say("  openstack server create --flavor m1.tiny --image guest --nic none --wait vm1")
    _say("  openstack server list")
    _say("  openstack console log show vm1")
    _say("Ctrl-C ends it.")


def _say(text: str) -> None:
    print(text, flush=True)
