"""Real database servers on loopback for the memory tests.

Each server is started once per test run, in its own temporary directory and on a free port, by an
unprivileged user. A missing server program skips the tests that need it on a developer machine and fails them
when the environment has CI=true (``ci/install_services.sh`` installs the programs).
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


def _missing(what: str) -> None:
    message = f"{what} is not installed; run ci/install_services.sh (as root)"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process: its directory, port and log; owned by the user it runs as."""

    def __init__(self, name: str, user: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"tea-{name}-", dir="/tmp"))
        self.port = _free_port()
        self.log = self.directory / "server.log"
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            self._user = user if _has_user(user) else "nobody"
            shutil.chown(self.directory, self._user)

    def run(self, *command: str) -> None:
        """Run a set-up command as the server's user; fails the test with its output."""
        done = subprocess.run(command, cwd=self.directory, user=self._user, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}", pytrace=False)

    def start(self, *command: str, wait: float = 60.0) -> None:
        """Start the server and wait until its port answers."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.directory, user=self._user, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        text = self.log.read_text(errors="replace")[-3000:]
        self.stop()
        pytest.fail(f"{command[0]} did not start:\n{text}", pytrace=False)

    def stop(self) -> None:
        """Stop the process and remove the directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _program(*names: str) -> str | None:
    for name in names:
        found = shutil.which(name) or next(iter(sorted(glob.glob(name), reverse=True)), None)
        if found:
            return found
    return None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server with user ``tea`` and trust authentication."""
    initdb = _program("/usr/lib/postgresql/*/bin/initdb", "initdb")
    if initdb is None:
        _missing("PostgreSQL")
    assert initdb is not None
    server = Server("postgres", "postgres")
    try:
        data = str(server.directory / "data")
        server.run(initdb, "-D", data, "-U", "tea", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        server.start(
            str(Path(initdb).with_name("postgres")),
            *("-D", data, "-p", str(server.port), "-h", "127.0.0.1", "-k", str(server.directory)),
            *("-c", "fsync=off", "-c", "max_connections=120"),
        )
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_dsn(postgres_server: Server) -> Iterator[str]:
    """``postgresql://`` URL of an empty database of its own."""
    import psycopg

    name = f"t_{uuid.uuid4().hex[:12]}"
    root = f"postgresql://tea@127.0.0.1:{postgres_server.port}/postgres"
    with _connect_when_ready(lambda: psycopg.connect(root, autocommit=True)) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')
    yield f"postgresql://tea@127.0.0.1:{postgres_server.port}/{name}"
    with psycopg.connect(root, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _connect_when_ready(connect):  # type: ignore[no-untyped-def]
    # The port answers a moment before the server accepts sessions.
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """A MariaDB server whose root user has no password."""
    install, daemon = _program("mariadb-install-db"), _program("mariadbd", "/usr/sbin/mariadbd")
    if install is None or daemon is None:
        _missing("MariaDB")
    assert install is not None and daemon is not None
    server = Server("mariadb", "mysql")
    try:
        data = str(server.directory / "data")
        server.run(
            *(install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"),
            *("--skip-test-db", "--innodb-flush-log-at-trx-commit=0"),
        )
        server.start(
            *(daemon, "--no-defaults", f"--datadir={data}", f"--port={server.port}"),
            *("--bind-address=127.0.0.1", f"--socket={server.directory}/s.sock", "--skip-log-bin"),
            *("--innodb-flush-log-at-trx-commit=0", "--max-connections=120"),
        )
        yield server
    finally:
        server.stop()


@pytest.fixture
def mariadb_url(mariadb_server: Server) -> Iterator[str]:
    """SQLAlchemy URL of an empty MariaDB database of its own."""
    import pymysql

    name = f"t_{uuid.uuid4().hex[:12]}"

    def connect():  # type: ignore[no-untyped-def]
        return pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="root", autocommit=True)

    with _connect_when_ready(connect) as conn:
        conn.cursor().execute(f"CREATE DATABASE `{name}`")
    yield f"mysql+pymysql://root@127.0.0.1:{mariadb_server.port}/{name}"
    with connect() as conn:
        conn.cursor().execute(f"DROP DATABASE `{name}`")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a Redis server of this test run."""
    program = _program("redis-server")
    if program is None:
        _missing("Redis")
    assert program is not None
    server = Server("redis", "redis")
    try:
        server.start(
            *(program, "--port", str(server.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
            *("--dir", str(server.directory)),
        )
        yield f"redis://127.0.0.1:{server.port}"
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_dsn: str) -> str:
    """SQLAlchemy URL of an empty PostgreSQL database of its own."""
    return postgres_dsn.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql", "mariadb"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One SQLAlchemy URL per supported database."""
    if request.param == "sqlite-memory":
        return "sqlite://"
    if request.param == "sqlite-file":
        return f"sqlite:///{tmp_path}/test.db"
    name = "postgres_url" if request.param == "postgresql" else "mariadb_url"
    return str(request.getfixturevalue(name))
