"""Our own PostgreSQL, with the real programs: made, found again, stopped, and never at the cost of anything else."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import create_engine, text

from homeserver.domain.errors import BrokenInvariant
from homeserver.storage.embedded import OPTIONS, DatabaseAddress, EmbeddedPostgres
from homeserver.storage.embedded_account import EmbeddedPostgresError
from homeserver.storage.embedded_programs import find_binaries

NO_FSYNC = {"fsync": "off"}
ROOT = os.geteuid() == 0

# Another Parley: starts the database (as the user id in argv, if any), tells about it, and waits until its input ends.
OTHER_PARLEY = """
import os, sys, json, psycopg2, encodings.idna, platform
from pathlib import Path
from homeserver.storage.embedded import EmbeddedPostgres
directory, uid = Path(sys.argv[1]), int(sys.argv[2])
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
postgres = EmbeddedPostgres(directory, "one.example", extra_options={"fsync": "off"})
address = postgres.start()
with psycopg2.connect(address.dsn) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TABLE IF NOT EXISTS diary (line text)")
    cursor.execute("INSERT INTO diary VALUES ('kept')")
connection.close()
pid = (postgres.cluster / "postmaster.pid").read_text().splitlines()[0]
print(json.dumps({"postmaster": int(pid)}), flush=True)
sys.stdin.read()
postgres.stop()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory. Not pytest's tmp_path: as root that lies below a folder which only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="parley-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres(directory: Path) -> Iterator[EmbeddedPostgres]:
    """A database that is not yet started; stopped at the end in any case."""
    database = server(directory)
    yield database
    database.stop()


def server(directory: Path, name: str = "one.example", **arguments: Any) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, name, extra_options=NO_FSYNC, patience=5, **arguments)


def query(address: DatabaseAddress, statement: str) -> Any:
    with closing(psycopg2.connect(address.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


def postmaster(database: EmbeddedPostgres) -> int:
    return int((database.cluster / "postmaster.pid").read_text().splitlines()[0])


def wait_for_end(pid: int) -> None:
    """Returns when the process is gone; fails after 20 seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} is still running"
    finally:
        os.close(descriptor)


def other_parley(directory: Path, uid: int = 0) -> tuple[subprocess.Popen[str], int]:
    """A second Parley in a process of its own, and the process id of its PostgreSQL."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PARLEY, str(directory), str(uid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    answer = process.stdout.readline()
    if not answer:
        process.communicate()
        pytest.fail("the other Parley did not start")
    return process, json.loads(answer)["postmaster"]


def test_first_start_makes_a_database_and_the_next_finds_it(postgres: EmbeddedPostgres) -> None:
    """The data outlives a stop; the database is UTF-8 with a locale that is the same on every machine."""
    address = postgres.start()
    query(address, "CREATE TABLE diary AS SELECT 'ÄÖ' AS line")
    assert query(address, "SELECT 'äö' ILIKE line, current_setting('server_encoding') FROM diary") == [(True, "UTF8")]
    locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'parley'"
    assert query(address, locale) == [("b", "C.UTF-8")]
    assert postgres.poll() is None
    postgres.stop()
    assert not (postgres.cluster / "postmaster.pid").exists()
    assert query(postgres.start(), "SELECT line FROM diary") == [("ÄÖ",)]


def test_settings_reach_the_server(postgres: EmbeddedPostgres) -> None:
    """Durable by default, on no network, and the extra options win."""
    address = postgres.start()
    assert OPTIONS["fsync"] == "on"
    assert query(address, "SHOW fsync") == [("off",)]
    assert query(address, "SHOW listen_addresses") == [("",)]
    assert query(address, "SHOW max_connections") == [("40",)]


def test_parleys_role_is_not_superuser(postgres: EmbeddedPostgres) -> None:
    """What Parley runs may make databases but read no file of the machine through SQL."""
    address = postgres.start()
    assert query(address, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [(False, True)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(address, "SELECT pg_read_file('/etc/passwd')")


def test_address_as_url(postgres: EmbeddedPostgres) -> None:
    """The URL form of the address serves SQLAlchemy."""
    engine = create_engine(postgres.start().url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar() == "parley"
    engine.dispose()


def test_nobody_else_reaches_the_socket(postgres: EmbeddedPostgres) -> None:
    """The folder of the socket is its owner's alone, and our own files are not for others."""
    postgres.start()
    assert (postgres.directory / "socket").stat().st_mode & 0o777 == 0o700
    assert postgres.cluster.stat().st_mode & 0o777 == 0o700
    assert postgres.log_file.stat().st_mode & 0o777 == 0o600
    assert postgres.directory.stat().st_mode & 0o777 == (0o701 if ROOT else 0o700)


def test_folders_above_are_not_touched(directory: Path) -> None:
    """Owner, mode and content of every folder above the data directory stay as they were."""
    directory.chmod(0o755)
    home = directory / "home"
    home.mkdir(mode=0o711)
    before = [(path.stat().st_mode, path.stat().st_uid) for path in (home, directory, directory.parent)]
    database = server(home / "data")
    database.start()
    database.stop()
    assert [(path.stat().st_mode, path.stat().st_uid) for path in (home, directory, directory.parent)] == before
    assert [path.name for path in home.iterdir()] == ["data"]


def test_long_path_with_odd_characters(directory: Path) -> None:
    """A path that libpq cannot use as a socket's host is reached through a descriptor, with nothing outside touched."""
    directory.chmod(0o711)
    database = server(directory / ('a, "b" ' * 10) / ("c" * 60))
    if ROOT:
        database.directory.parent.mkdir(mode=0o711)
    try:
        assert query(database.start(), "SELECT 1") == [(1,)]
    finally:
        database.stop()


def test_ends_with_a_parley_that_is_killed(directory: Path, postgres: EmbeddedPostgres) -> None:
    """Kill -9 of Parley takes PostgreSQL with it, cleanly, without anybody starting anything."""
    process, child = other_parley(directory)
    process.kill()
    process.communicate()
    wait_for_end(child)
    assert not (postgres.cluster / "postmaster.pid").exists()
    assert query(postgres.start(), "SELECT line FROM diary") == [("kept",)]
    assert "was not properly shut down" not in postgres.log_file.read_text()


def test_started_at_once_after_a_kill(directory: Path, postgres: EmbeddedPostgres) -> None:
    """A start that meets the last moments of the server before it waits for them, and has every committed row."""
    process, _ = other_parley(directory)
    process.kill()
    address = postgres.start()
    process.communicate()
    assert query(address, "SELECT line FROM diary") == [("kept",)]


def test_stopped_with_parley(directory: Path) -> None:
    """A Parley that stops in good order leaves no PostgreSQL."""
    process, child = other_parley(directory)
    process.communicate()
    wait_for_end(child)
    assert process.returncode == 0


def test_second_parley_is_refused(directory: Path, postgres: EmbeddedPostgres) -> None:
    """Two Parleys on one directory: the second says who has it, and the first goes on."""
    address = postgres.start()
    second = EmbeddedPostgres(directory, "one.example", patience=0)
    with pytest.raises(EmbeddedPostgresError, match=rf"Another Parley \(process {os.getpid()}\)"):
        second.start()
    assert query(address, "SELECT 1") == [(1,)]


def test_orphan_is_replaced(directory: Path, postgres: EmbeddedPostgres) -> None:
    """A PostgreSQL that survived its Parley is stopped and started again as ours."""
    postgres.start()
    postgres.stop()
    owner = postgres.cluster.stat()
    identity: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if ROOT else {}
    options = ["-c", "listen_addresses=", "-c", "unix_socket_directories=../socket"]
    orphan = subprocess.Popen(
        [find_binaries() / "postgres", "-D", postgres.cluster, *options], **identity, stderr=subprocess.PIPE, text=True
    )
    assert orphan.stderr is not None
    while "ready to accept connections" not in orphan.stderr.readline():
        assert orphan.poll() is None
    assert query(postgres.start(), "SELECT 1") == [(1,)]
    assert postmaster(postgres) != orphan.pid
    assert orphan.wait() == 0
    orphan.stderr.close()


def test_stale_pid_of_a_foreign_process(postgres: EmbeddedPostgres) -> None:
    """After a reboot the number in postmaster.pid may be any process: it is left alone, and PostgreSQL starts."""
    address = postgres.start()
    query(address, "CREATE TABLE diary AS SELECT 'kept' AS line")
    pid_file = postgres.cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(postmaster(postgres), signal.SIGKILL)
    wait_for_end(int(lines[0]))
    # Of the same account as the database, which is the worst case: PostgreSQL itself would believe it.
    owner = postgres.cluster.stat()
    identity: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if ROOT else {}
    foreign = subprocess.Popen(["sleep", "600"], **identity)
    try:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        assert query(postgres.start(), "SELECT line FROM diary") == [("kept",)]
        postgres.stop()
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_broken_pid_file(postgres: EmbeddedPostgres) -> None:
    """An empty pid file, as a full disk leaves it, does not keep the server from starting."""
    postgres.start()
    postgres.stop()
    (postgres.cluster / "postmaster.pid").write_text("")
    assert query(postgres.start(), "SELECT 1") == [(1,)]


def test_end_of_postgres_is_seen_and_mended(postgres: EmbeddedPostgres) -> None:
    """`poll` tells when PostgreSQL was killed; the next start recovers what was committed."""
    query(postgres.start(), "CREATE TABLE diary AS SELECT 'kept' AS line")
    pid = postmaster(postgres)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    assert postgres.poll() == -signal.SIGKILL
    assert query(postgres.start(), "SELECT line FROM diary") == [("kept",)]


def test_other_server_name_is_refused(directory: Path, postgres: EmbeddedPostgres) -> None:
    """A data directory belongs to one server name; the refusal names both and says what to do."""
    postgres.start()
    postgres.stop()
    with pytest.raises(EmbeddedPostgresError, match=r"belongs to the server 'one\.example'.*choose another data dir"):
        server(directory, "two.example").start()
    assert query(postgres.start(), "SELECT 1") == [(1,)]


def test_other_major_is_refused(postgres: EmbeddedPostgres) -> None:
    """A database of another PostgreSQL is not started; the refusal says how to move it."""
    postgres.start()
    postgres.stop()
    (postgres.cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(
        EmbeddedPostgresError, match=r"made by PostgreSQL 16; this Parley brings PostgreSQL 18.*pg_dump"
    ):
        postgres.start()


def test_foreign_files_are_refused(directory: Path, postgres: EmbeddedPostgres) -> None:
    """A database without our mark, and a mark that is not ours, are left alone."""
    (directory / "postgresql").mkdir()
    with pytest.raises(EmbeddedPostgresError, match=r"parley\.json is missing"):
        postgres.start()
    (directory / "parley.json").write_text("{}")
    with pytest.raises(EmbeddedPostgresError, match="is not a file of Parley's"):
        postgres.start()


def test_interrupted_first_start(directory: Path, postgres: EmbeddedPostgres) -> None:
    """A first start that was killed while it made the database is simply done again."""
    (directory / "postgresql.new").mkdir()
    (directory / "postgresql.new" / "half").touch()
    assert query(postgres.start(), "SELECT 1") == [(1,)]
    assert not (directory / "postgresql.new").exists()


def test_start_that_fails_shows_the_log(directory: Path) -> None:
    """When PostgreSQL ends at once, the error carries what it said."""
    database = EmbeddedPostgres(directory, "one.example", extra_options={**NO_FSYNC, "shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedPostgresError, match=r"did not start[\s\S]*shared_buffers"):
        database.start()


def test_directory_that_cannot_be_made(directory: Path) -> None:
    """A file where the data directory should be is an error with the path, not a traceback."""
    (directory / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="cannot run in"):
        server(directory / "file" / "data").start()


def test_large_log_is_put_aside(postgres: EmbeddedPostgres) -> None:
    """The log of PostgreSQL does not grow for ever: a start puts a large one aside."""
    postgres.log_file.write_text("x" * 2_000_000)
    postgres.start()
    assert postgres.log_file.stat().st_size < 100_000
    assert postgres.log_file.with_name("postgresql.log.1").stat().st_size == 2_000_000


def test_misuse_is_our_own_fault(postgres: EmbeddedPostgres) -> None:
    """A second start while it runs, a poll before it, and a start from another thread are defects of the caller."""
    with pytest.raises(BrokenInvariant):
        postgres.poll()
    seen: list[BaseException] = []

    def start() -> None:
        try:
            postgres.start()
        except BrokenInvariant as error:
            seen.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(seen[0])
    postgres.start()
    with pytest.raises(BrokenInvariant):
        postgres.start()


class TestAccounts:
    """Who runs PostgreSQL; most of it can only be seen as root."""

    pytestmark = pytest.mark.skipif(not ROOT, reason="only root can become another account")

    def test_as_an_ordinary_user(self, directory: Path) -> None:
        """An ordinary user needs nothing but a directory of its own, and keeps it closed to others."""
        os.chown(directory, 65534, 65534)
        process, child = other_parley(directory, uid=65534)
        assert Path(f"/proc/{child}").stat().st_uid == 65534
        process.kill()
        process.communicate()
        wait_for_end(child)
        assert directory.stat().st_mode & 0o777 == 0o700

    def test_owner_of_the_directory(self, directory: Path, postgres: EmbeddedPostgres) -> None:
        """Started by root, PostgreSQL runs as the owner of the data directory."""
        os.chown(directory, 1, 1)
        postgres.start()
        assert Path(f"/proc/{postmaster(postgres)}").stat().st_uid == 1

    def test_named_account(self, directory: Path) -> None:
        """`database.user_account` decides, and a later start without it stays with the database's owner."""
        first = server(directory, account="daemon")
        first.start()
        uid = first.cluster.stat().st_uid
        first.stop()
        second = server(directory)
        second.start()
        assert Path(f"/proc/{postmaster(second)}").stat().st_uid == uid != 0
        second.stop()
        with pytest.raises(EmbeddedPostgresError, match=r"does not belong to the account 'bin'.*chown -R bin"):
            server(directory, account="bin").start()

    @pytest.mark.parametrize(("name", "why"), [("root", "refuses to run as root"), ("no-such", "no such account")])
    def test_impossible_account(self, directory: Path, name: str, why: str) -> None:
        """An account that cannot serve is refused by name."""
        with pytest.raises(EmbeddedPostgresError, match=why):
            server(directory, account=name).start()

    def test_closed_folder_above(self, directory: Path) -> None:
        """A folder that the account may not enter is named and not opened; nothing is made."""
        (directory / "closed").mkdir(mode=0o700)
        directory.chmod(0o755)
        with pytest.raises(EmbeddedPostgresError, match=r"'nobody' may not enter \S+/closed \(root:root, mode 0700\)"):
            server(directory / "closed" / "data").start()
        assert (directory / "closed").stat().st_mode & 0o777 == 0o700
        assert not (directory / "closed" / "data" / "postgresql").exists()
