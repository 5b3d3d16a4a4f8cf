"""A RabbitMQ broker of the tests' own: its node, cookie, port mapper and files are nobody else's."""

from pathlib import Path

from tests.integration.services.process import Process, listens, run
from tests.ports import free_port

# The packaged command of this name changes to another user first; these do not.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")

CONFIGURATION = """\
listeners.tcp.local = 127.0.0.1:{port}
default_user = kilonova
default_pass = kilonova
loopback_users.guest = true
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""


class RabbitMQ:
    """A broker, with virtual hosts made as they are asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._vhosts: set[str] = set()
        self._processes: list[Process] = []
        self.port = free_port()
        mapper = free_port()
        self._environment = {
            "HOME": str(directory),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-environment-file"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_MNESIA_BASE": str(directory),
            "RABBITMQ_NODENAME": f"kilonova-{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            # With these two the script becomes the broker, instead of waiting for it: one process to end.
            "RABBITMQ_ALLOW_INPUT": "1",
            # Idle schedulers sleep instead of spinning: the machine is shared with what is under test.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }
        self._mapper = mapper

    def start(self) -> None:
        """Start the port mapper and the broker, and wait until it takes connections."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port))
        (self._directory / "enabled_plugins").write_text("[].\n")
        mapper = Process(
            "epmd",
            ["epmd", "-address", "127.0.0.1", "-port", str(self._mapper)],
            log=self._directory / "epmd.log",
        )
        self._processes.append(mapper)
        mapper.wait_ready(lambda: listens(self._mapper))
        self.start_broker()

    def start_broker(self) -> None:
        """Start the broker, with all that it kept; its address stays the same."""
        self.broker = Process(
            "RabbitMQ",
            [str(PROGRAMS / "rabbitmq-server")],
            log=self._directory / "broker.log",
            env=self._environment,
        )
        self._processes.append(self.broker)
        self.broker.wait_ready(lambda: listens(self.port))

    def stop(self) -> None:
        """End the broker, then the port mapper."""
        while self._processes:
            self._processes.pop().stop()

    def transport_url(self, vhost: str) -> str:
        """Return oslo.messaging's URL of a virtual host, which is made at its first mention."""
        if vhost not in self._vhosts:
            self.control("add_vhost", vhost)
            self.control("set_permissions", "-p", vhost, "kilonova", ".*", ".*", ".*")
            self._vhosts.add(vhost)
        return f"rabbit://kilonova:kilonova@127.0.0.1:{self.port}/{vhost}"

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` with these arguments and return what it prints."""
        program = str(PROGRAMS / "rabbitmqctl")
        return run([program, "--quiet", *arguments], env=self._environment)
