"""A whole cloud in this process that conversations are held with.

What it has is fixed, so that a conversation can name it; ``conversations/README.md`` tells its readers.
"""

import io
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import falcon.testing
import testtools
from oslo_config import cfg

from kilonova.api import wsgi
from kilonova.api.versions import asked_for, negotiate
from kilonova.core import settings
from kilonova.core.errors import KilonovaError
from kilonova.core.ids import CellUuid, HostName, ImageId, InstanceUuid, RequestId
from kilonova.core.image import Image
from kilonova.core.quota import Limits
from kilonova.core.scheduling import RequestSpec
from kilonova.db import acceptance, build_requests
from kilonova.db.acceptance import Accepted, Lot
from kilonova.db.cells import Cell, create_cell, map_hosts, mapped_hosts
from kilonova.db.engine import Database
from kilonova.db.hosts import COMPUTE
from kilonova.embedded.deployment import Deployment, Options, Service
from kilonova.embedded.image_files import ImageFiles
from kilonova.http.identity import Wsgi
from tests.functional.api.answers import Answered, Asked, wrong_fault, wrong_with
from tests.functional.db import servers
from tests.functional.db.databases import empty_file
from tests.functional.peers.cinder import Cinder
from tests.functional.peers.manila import Manila
from tests.functional.peers.neutron import Neutron
from tests.functional.pipeline.case import five_ports

ADMIN = "admin:operators"
_PATIENCE = 120.0
_FLAVORS = (("1", "tiny", 1, 128, 1), ("2", "small", 2, 512, 5), ("3", "huge", 1000, 128, 1))
_IMAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dddddddd-0000-4000-8000-000000000001", {"name": "guest", "hw_disk_bus": "virtio"}),
    ("dddddddd-0000-4000-8000-000000000002", {"name": "vast", "min_disk": 500}),
)
_EMPTY_IMAGE = ("dddddddd-0000-4000-8000-000000000003", {"name": "empty"})
_NETWORKS = (
    ("eeeeeeee-0000-4000-8000-000000000001", "net", "project-a", "10.1.0.0/24"),
    ("eeeeeeee-0000-4000-8000-000000000002", "other", "project-b", "10.2.0.0/24"),
)
_PORT = ("eeeeeeee-0000-4000-8000-000000000011", _NETWORKS[0][0])
_VOLUMES: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (1, "project-a", {}),
    (2, "project-a", {}),
    (3, "project-a", {"size": 2}),
    (4, "project-a", {"migration_status": "migrating"}),
    (5, "project-a", {"multiattach": True}),
    *((number, "project-a", {}) for number in (6, 7, 8)),
    (9, "project-b", {}),
)
_AWAY = CellUuid("99999999-9999-4999-8999-999999999999")
_LOST = InstanceUuid("bbbbbbbb-0000-4000-8000-000000000009")
_GUEST = Image(image_id=ImageId(_IMAGES[0][0]), name="guest", status="active")
_SHARES: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (1, "project-a", {}),
    (2, "project-a", {"share_proto": "CEPHFS"}),
    (3, "project-a", {"status": "creating"}),
    (4, "project-a", {"exports": []}),
    (5, "project-a", {"share_proto": "CIFS"}),
    (8, "project-b", {"is_public": True}),
    (9, "project-b", {}),
)
_CONF = """\
[DEFAULT]
host = host
converge_interval = 1
[fake]
script = {script}
[oslo_policy]
policy_file = {policy}
"""


class _Parts(Deployment):
    """What a Compute API in this process needs: who asks it does not come through a socket."""

    def _plan(self, conf: cfg.ConfigOpts) -> dict[str, Callable[[], Service]]:
        parts = super()._plan(conf)
        for name in ("identity", "compute-api", "consoles"):
            del parts[name]
        return parts


class Cloud:
    """A deployment on fake hosts, with a network, a block storage and a share service beside it unless
    ``alone``.

    ``away`` gives it one more cell, whose database is away, with a server of project-a.

    ``plays`` is what the file of the fake hosts says, ``policy`` a policy file's rules, ``configuration``
    more of kilonova.conf. ``app`` is its Compute API, which fails with any answer that has not the form
    that ``answers`` says.
    """

    def __init__(
        self,
        *,
        plays: dict[str, Any],
        policy: dict[str, str],
        configuration: str,
        alone: bool,
        away: bool,
    ) -> None:
        self._plays = {"hosts": 2} | plays
        self._policy = policy
        self._more = configuration
        self._alone = alone
        self._away = away

    def start(self, case: testtools.TestCase) -> None:
        """Start everything; it ends with the test."""
        scratch = tempfile.TemporaryDirectory()
        case.addCleanup(scratch.cleanup)
        state = Path(scratch.name)
        for name in ("api", "placement", "cell0", "cell1"):
            schema = "cell" if name.startswith("cell") else name
            (state / f"{name}.db").write_bytes(empty_file(schema))  # type: ignore[arg-type]
        _images(ImageFiles(state / "images"))
        options = Options(
            state_dir=state,
            ports=five_ports(),
            hosts=int(self._plays["hosts"]),
            more=self._configuration(state) + self._peers(case),
        )
        deployment = _Parts(options)
        case.addCleanup(deployment.stop)
        deployment.start()
        conf = settings.read_config(
            ["--config-file", str(state / "kilonova.conf")], prog="kilonova"
        )
        app = wsgi.build(conf)
        self.app = _checked(app)
        self._client = falcon.testing.TestClient(app, headers={"X-Auth-Token": ADMIN})
        api_db = Database(conf.api_database.connection)
        case.addCleanup(api_db.dispose)
        self._await_hosts(api_db)
        for flavor_id, name, vcpus, ram, disk in _FLAVORS:
            flavor = {"id": flavor_id, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}
            self._client.simulate_post("/v2.1/flavors", json={"flavor": flavor})
        if self._away:
            _add_cell_that_is_away(api_db, state)

    def _configuration(self, state: Path) -> str:
        script, policy = state / "script.yaml", state / "policy.yaml"
        # JSON is YAML.
        script.write_text(json.dumps(self._plays))
        policy.write_text(json.dumps(self._policy))
        return _CONF.format(script=script, policy=policy)

    def _peers(self, case: testtools.TestCase) -> str:
        """Start the services beside it, and return what of the configuration tells of them."""
        if self._alone:
            return self._more
        neutron, cinder, manila = Neutron(), Cinder(), Manila()
        for peer in (neutron, cinder, manila):
            case.addCleanup(peer.stop)
        neutron.events = self._tell
        for network_id, name, project, cidr in _NETWORKS:
            neutron.network(name, project, cidr, id=network_id)
        neutron.port(_PORT[1], "project-a", id=_PORT[0])
        neutron.group("web", "project-a")
        neutron.floating("project-a", "198.51.100.9")
        for number, project, more in _VOLUMES:
            cinder.add(project, id=f"ffffffff-0000-4000-8000-{number:012}", **more)
        for number, project, more in _SHARES:
            manila.add(project, id=f"ffffffff-0000-4000-8000-{number:012}", **more)
        return neutron.options + cinder.options + manila.options + self._more

    def _tell(self, events: list[dict[str, Any]]) -> None:
        """Tell the Compute API what happened, as Neutron does."""
        self._client.simulate_post("/v2.1/os-server-external-events", json={"events": events})

    def _await_hosts(self, api_db: Database) -> None:
        """Wait until the hosts are up, and known to the cell that they are in."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            services = self._client.simulate_get("/v2.1/os-services").json["services"]
            up = sum(one["state"] == "up" for one in services if one["binary"] == COMPUTE)
            if up == len(mapped_hosts(api_db)) == self._plays["hosts"]:
                return
            time.sleep(0.02)
        raise AssertionError(f"The hosts were not up within {_PATIENCE:g} s.")


def _add_cell_that_is_away(api_db: Database, state: Path) -> None:
    nowhere = f"sqlite:///{state}/nothing/here.db"
    cell = Cell(uuid=_AWAY, name="away", transport_url="memory://", database_connection=nowhere)
    create_cell(api_db, cell)
    server = servers.instance(uuid=_LOST, name="lost", image=_GUEST)
    spec = RequestSpec(
        project_id=server.project_id, user_id=server.user_id, flavor=server.flavor, image=_GUEST
    )
    request = RequestId("req-cccccccc-0000-4000-8000-000000000009")
    accepted = Accepted(instance=server, spec=spec, request_id=request)
    acceptance.accept(api_db, [Lot([accepted], Limits())])
    build_requests.take(api_db, [_LOST], "tests", server.created_at)
    build_requests.settle(api_db, {_LOST: _AWAY}, "tests")
    map_hosts(api_db, _AWAY, [HostName("host-away")])


def _images(store: ImageFiles) -> None:
    for image_id, more in (*_IMAGES, _EMPTY_IMAGE):
        wanted = {"id": image_id, "visibility": "public", "disk_format": "raw"} | more
        store.create(wanted | {"container_format": "bare"}, "operators")
        if image_id != _EMPTY_IMAGE[0]:
            store.upload(image_id, io.BytesIO(b"never read"))


def _checked(app: Wsgi) -> Wsgi:
    """Return an application that fails where an answer below /v2.1 has not the form that it should."""

    def checked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        sent = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(sent)
        told: list[Any] = []
        content = b"".join(app(environ, lambda *answer: told.append(answer)))
        status, headers = told[0][:2]
        answered = Answered(int(status.split()[0]), _joined(headers), content)
        wrong = (
            _wrong(environ, path, sent, answered)
            if path.rstrip("/").count("/") > 1 and path.startswith("/v2.1/")
            else None
        )
        assert wrong is None, f"{environ['REQUEST_METHOD']} {path}: {wrong}"
        start_response(status, headers)
        return [content]

    return checked


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _wrong(environ: dict[str, Any], path: str, sent: bytes, answered: Answered) -> str | None:
    def header(name: str) -> str | None:
        value: str | None = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return value

    if answered.status >= 400:
        return None if answered.status == 401 else wrong_fault(answered)
    try:
        version = negotiate(asked_for(header))
    except KilonovaError:
        return f"status {answered.status} at a microversion that is none"
    project = (header("X-Auth-Token") or "").partition(":")[2]
    below = path.removeprefix("/v2.1").removeprefix(f"/{project}")
    below = below.replace("/os-volumes_boot", "/servers")
    body = json.loads(sent) if sent else None
    return wrong_with(Asked(environ["REQUEST_METHOD"], below, body, version), answered)
