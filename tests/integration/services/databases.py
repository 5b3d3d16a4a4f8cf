"""A MariaDB and a PostgreSQL server of the tests' own. Both trade durability for speed."""

import os
import pwd
import shutil
import signal
from pathlib import Path

import psycopg
import pymysql

from tests.integration.services.process import NotReady, Process, as_user, run
from tests.ports import free_port


class MariaDB:
    """A MariaDB server. ``server_url`` is SQLAlchemy's URL of it, short of a database's name."""

    name = "mariadb"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.server_url = f"mysql+pymysql://root@127.0.0.1:{self.port}/"
        self.process: Process | None = None

    def start(self) -> None:
        """Lay the data directory, start the server and wait until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        run(
            [
                "mariadb-install-db",
                "--no-defaults",
                *self._options(),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        )
        self.start_server()

    def start_server(self) -> None:
        """Start the server on the data that it has; its address stays the same."""
        self.process = Process(
            "MariaDB",
            [
                _program("mariadbd", "/usr/sbin"),
                "--no-defaults",
                *self._options(),
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                f"--socket={self._directory / 'sock'}",
                f"--pid-file={self._directory / 'pid'}",
                "--skip-log-bin",
                "--skip-name-resolve",
                "--max-connections=500",
                # Written at each commit, and not synced: what is committed outlives the server, if killed.
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-flush-method=nosync",
                "--innodb-buffer-pool-size=64M",
                "--character-set-server=utf8mb4",
            ],
            log=self._directory / "server.log",
        )
        self.process.wait_ready(self._answers)

    def crash(self) -> None:
        """End the server at once, with whatever is under way."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """End the server."""
        if self.process:
            self.process.stop()

    def url(self, database: str) -> str:
        """Make the database if it is not there and return SQLAlchemy's URL of it."""
        with self._connect() as connection:
            connection.cursor().execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        return self.server_url + database

    def _options(self) -> list[str]:
        # A server that starts removes what it takes for its own from where temporary tables are.
        options = [f"--datadir={self._directory / 'data'}", f"--tmpdir={self._directory}"]
        return [*options, "--user=root"] if os.geteuid() == 0 else options

    def _connect(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", connect_timeout=2, autocommit=True
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


class PostgreSQL:
    """A PostgreSQL server. ``server_url`` is SQLAlchemy's URL of it, short of a database's name."""

    name = "postgresql"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else ""
        self.port = free_port()
        self.server_url = f"postgresql+psycopg://kilonova@127.0.0.1:{self.port}/"
        self.process: Process | None = None

    def start(self) -> None:
        """Lay the data directory, start the server and wait until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        run(
            [
                "setpriv",
                *as_user(self._user),
                _program("initdb", _newest_postgresql()),
                f"--pgdata={self._data}",
                "--username=kilonova",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
        )
        self.start_server()

    def start_server(self) -> None:
        """Start the server on the data that it has; its address stays the same."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._data,
            "max_connections": 300,
            "shared_buffers": "64MB",
            # Written at each commit, and not synced: what is committed outlives the server, if it crashes.
            "fsync": "off",
            "full_page_writes": "off",
        }
        self.process = Process(
            "PostgreSQL",
            [
                _program("postgres", _newest_postgresql()),
                f"-D{self._data}",
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            log=self._directory / "server.log",
            user=self._user,
        )
        self.process.wait_ready(self._answers)

    def crash(self) -> None:
        """End the server at once, with whatever is under way."""
        assert self.process is not None
        # Its immediate shutdown: SIGKILL would leave the sessions' processes, which hold its memory.
        self.process.send(signal.SIGQUIT)
        self.process.wait(10)

    def stop(self) -> None:
        """End the server, and with it the connections that clients left open."""
        if self.process:
            # SIGINT: sessions are ended; SIGTERM would wait for them.
            self.process.stop(gently=signal.SIGINT)

    def url(self, database: str) -> str:
        """Make the database if it is not there and return SQLAlchemy's URL of it."""
        with self._connect() as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database,)
            ).fetchone()
            if not known:
                connection.execute(f'CREATE DATABASE "{database}"')
        return self.server_url + database

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=kilonova dbname=postgres connect_timeout=2",
            autocommit=True,
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _newest_postgresql() -> str:
    """Return the directory of the newest server's programs, which are not on the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda program: float(program.parts[-3]),
    )
    return str(versions[-1].parent) if versions else ""


def _program(name: str, also: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([also, os.environ.get("PATH", "")]))
    if not found:
        raise NotReady(f"{name} is not installed.")
    return found
