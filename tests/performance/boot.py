"""The boot benchmark: ``kilonova bench boot``, and a deployment to measure.

    python -m tests.performance.boot --deploy mariadb --servers 500 --concurrency 8

starts RabbitMQ, the database server and every service as a process of its own with four fake hosts,
measures, and ends them. Without ``--deploy`` it measures a cloud that runs, as ``kilonova bench boot``.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from kilonova.cli import bench
from tests.integration import services
from tests.integration.deployment import Deployment, fake_hosts
from tests.integration.services.keystone import ADMIN

ROOM = {"vcpus": 4096, "memory_mb": 8 << 20, "disk_gb": 1 << 20}


@contextmanager
def deployed(database: str) -> Iterator[list[str]]:
    """Start a deployment with four fake hosts; yield the options that measure it."""
    hosts = fake_hosts("bench", 4)
    hosts.plays.update(ROOM)
    server = services.mariadb() if database == "mariadb" else services.postgresql()
    deployment = Deployment("bench", server, [hosts], auth_strategy="noauth2")
    try:
        deployment.start()
        add_flavor(deployment.compute_url)
        target = ["--endpoint", deployment.compute_url, "--image", add_image()]
        yield [*target, "--flavor", "bench", "--only", "tests.performance.boot"]
    finally:
        deployment.stop()
        services.stop_all()


def add_flavor(compute_url: str) -> None:
    """Make a flavor with the id ``bench``."""
    flavor = {"name": "bench", "id": "bench", "vcpus": 1, "ram": 64, "disk": 1}
    headers = {"X-Auth-Token": ADMIN}
    answer = requests.post(
        f"{compute_url}/flavors", json={"flavor": flavor}, headers=headers, timeout=30
    )
    answer.raise_for_status()


def add_image() -> str:
    """Register an image that fake hosts never read, and return its id."""
    image_url = services.glance().url + "/v2/images"
    session = services.keystone().session(ADMIN)
    wanted = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    image = str(session.post(image_url, json=wanted | {"visibility": "public"}).json()["id"])
    headers = {"Content-Type": "application/octet-stream"}
    session.put(f"{image_url}/{image}/file", data=b"never read", headers=headers)
    return image


def machine() -> str:
    """Return what the figures were measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpus = f"{os.cpu_count()} x {models[0] if models else platform.machine()}"
    return f"{cpus}, {memory:.0f} GiB, Python {platform.python_version()}"


def main() -> int:
    """Measure; return the exit status."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--deploy", choices=("mariadb", "postgresql"))
    chosen, rest = first.parse_known_args()
    parser = argparse.ArgumentParser(description=bench.__doc__, parents=[first])
    bench.add_arguments(parser)
    if not chosen.deploy:
        return bench.run(parser.parse_args(rest))
    with deployed(chosen.deploy) as target:
        print(f"| {'machine':28} | {machine()} |")
        return bench.run(parser.parse_args([*target, *rest]))


if __name__ == "__main__":
    sys.exit(main())
