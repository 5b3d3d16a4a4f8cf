"""A real Keystone from PyPI, on MariaDB, with a project and a user for every role that the tests play."""

from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from keystoneauth1 import adapter, session
from keystoneauth1.identity import v3

from tests.integration.services.databases import MariaDB
from tests.integration.services.process import Process, answers, run
from tests.ports import free_port

PROGRAMS = Path(__file__).parents[3] / ".venv-clients" / "bin"
"""Where the programs are that the tests run from outside; tools/test makes it."""

PASSWORD = "for-tests-only"  # the same for all users
ADMIN, DEMO, OTHER, SERVICE = "admin", "demo", "other", "service"
"""The users; each has a project of its own name."""

CONFIGURATION = """\
[DEFAULT]
debug = false
[database]
connection = {database}
[token]
provider = fernet
[fernet_tokens]
key_repository = {directory}/fernet-keys
[fernet_receipts]
key_repository = {directory}/fernet-keys
[credential]
key_repository = {directory}/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
"""


class Keystone:
    """An identity service. A deployment registers its endpoints in a region of its own."""

    def __init__(self, directory: Path, database: MariaDB) -> None:
        self._directory = directory
        self._database = database
        self._port = free_port()
        self.auth_url = f"http://127.0.0.1:{self._port}/v3"
        self._process: Process | None = None
        self._services: dict[str, str] = {}

    def start(self) -> None:
        """Make the database and keys, start the service, and make the projects and users."""
        self._directory.mkdir(parents=True, exist_ok=True)
        configuration = self._directory / "keystone.conf"
        configuration.write_text(
            CONFIGURATION.format(directory=self._directory, database=self._database.url("keystone"))
        )
        for keys in ("fernet-keys", "credential-keys"):
            (self._directory / keys).mkdir(mode=0o700)
            for number in ("0", "1"):
                (self._directory / keys / number).write_bytes(Fernet.generate_key())
        manage = [str(PROGRAMS / "keystone-manage"), "--config-file", str(configuration)]
        run([*manage, "db_sync"])
        run([*manage, "bootstrap", f"--bootstrap-password={PASSWORD}"])
        self._process = serve("keystone.wsgi.api:application", self._port, self._directory)
        self._add_users()

    def stop(self) -> None:
        """End the service."""
        if self._process:
            self._process.stop()

    def register(self, region: str, endpoints: dict[str, str]) -> None:
        """Add endpoints, service type to URL, to the catalog, in a region that is made."""
        api = self._api()
        api.post("/regions", json={"region": {"id": region}})
        for service_type, url in {"identity": self.auth_url, **endpoints}.items():
            for interface in ("public", "internal", "admin"):
                endpoint = {
                    "service_id": self._service(service_type),
                    "region_id": region,
                    "interface": interface,
                    "url": url,
                }
                api.post("/endpoints", json={"endpoint": endpoint})

    def credentials(self, user: str) -> dict[str, str]:
        """Return what a client needs to act as ``user`` in the project of the same name."""
        return {
            "auth_url": self.auth_url,
            "username": user,
            "password": PASSWORD,
            "project_name": user,
            "user_domain_id": "default",
            "project_domain_id": "default",
        }

    def session(self, user: str) -> session.Session:
        """Return a keystoneauth1 session of ``user``."""
        return session.Session(auth=v3.Password(**self.credentials(user)))

    def _api(self) -> Any:
        return adapter.Adapter(self.session(ADMIN), endpoint_override=self.auth_url)

    def _add_users(self) -> None:
        api = self._api()
        roles = {role["name"]: role["id"] for role in api.get("/roles").json()["roles"]}
        for user, role in ((DEMO, "member"), (OTHER, "member"), (SERVICE, "admin")):
            project = {"name": user, "domain_id": "default"}
            project_id = api.post("/projects", json={"project": project}).json()["project"]["id"]
            account = {"name": user, "password": PASSWORD, "domain_id": "default"}
            user_id = api.post("/users", json={"user": account}).json()["user"]["id"]
            granted = [role, "service"] if user == SERVICE else [role]
            for name in granted:
                api.put(f"/projects/{project_id}/users/{user_id}/roles/{roles[name]}")

    def _service(self, service_type: str) -> str:
        if service_type not in self._services:
            service = {"type": service_type, "name": service_type}
            made = self._api().post("/services", json={"service": service}).json()
            self._services[service_type] = made["service"]["id"]
        return self._services[service_type]


def serve(
    application: str, port: int, directory: Path, more: dict[str, str] | None = None
) -> Process:
    """Serve one of OpenStack's WSGI applications, configured in ``directory``, on a port of loopback.

    ``more`` is what else stands in its environment.
    """
    configuration = directory / "gunicorn.conf.py"
    settings = {
        "bind": f"127.0.0.1:{port}",
        "wsgi_app": application,
        "threads": 8,
        "timeout": 120,
        "graceful_timeout": 2,
        "control_socket_disable": True,
    }
    configuration.write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
    process = Process(
        application,
        # No arguments: the application would take them for its own.
        [str(PROGRAMS / "gunicorn")],
        log=directory / "server.log",
        env={
            "GUNICORN_CMD_ARGS": f"--config={configuration}",
            "OS_KEYSTONE_CONFIG_DIR": str(directory),
            "OS_GLANCE_CONFIG_DIR": str(directory),
        }
        | (more or {}),
    )
    process.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/"))
    return process
