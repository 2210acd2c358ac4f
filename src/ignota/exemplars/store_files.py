"""Opens the SQLite file of a store: for writing, for reading, and on read-only media."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

from ignota.data.files import open_regular, read_regular
from ignota.exemplars.migrations import VERSION, check_tables, create, migrate, version
from ignota.exemplars.rows import check_rows
from ignota.structures import InputError

_WAIT = 30  # seconds for another process's transaction
_NEEDED = 64 * 1024
"""Bytes of disk below which a failed write is put down to the full disk."""


def in_memory() -> sqlite3.Connection:
    """An empty store that no file holds."""
    connection = _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
    create(connection)
    return connection


def opened_for_writing(path: Path) -> sqlite3.Connection:
    """A checked connection that may write; an older store is brought to today's version. Raises InputError."""
    _check_regular(path)
    if not (_may_write(path) and _may_write(path.parent)):
        raise InputError(
            f"{path.parent} may not be changed (it is another user's, or its disk is read-only): "
            f"`ignota init MY-WORLD --from {path.parent}` makes a copy to teach"
        )
    connection = _connected(path, "rw")
    try:
        if version(connection) in range(1, VERSION):
            _bring_forward(connection, path)
        check_store(connection, path)
        _leave_wal(connection)
    except BaseException as error:
        connection.close()
        raise explained(error, path) from None
    return connection


def opened_for_reading(path: Path, immutable: bool) -> sqlite3.Connection:
    """A checked connection that never writes; an older store is read as a migrated copy. Raises InputError.

    Where SQLite cannot lay its own files beside the store (read-only media, another user's folder, a full disk), a
    copy in memory is read.
    """
    _check_regular(path)
    connection = _connected(path, "ro&immutable=1" if immutable else "ro")
    try:
        try:
            found = version(connection)
        except sqlite3.OperationalError as error:
            if _code(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise
            connection.close()
            connection = _in_memory_copy(path)
            found = version(connection)
        if found in range(1, VERSION):
            connection = _moved_to_memory(connection)
            _bring_forward(connection, path)
        check_store(connection, path)
    except BaseException as error:
        connection.close()
        raise explained(error, path) from None
    return connection


def check_store(connection: sqlite3.Connection, path: Path) -> None:
    """Raises InputError or sqlite3.DatabaseError for a store of another version, with other tables or changed rows."""
    connection.execute("BEGIN")  # one state of the store, whoever writes to it meanwhile
    try:
        found = version(connection)
        if found != VERSION:
            raise InputError(f"{path} has schema version {found}, this program reads {VERSION}: update ignota")
        try:
            check_tables(connection)
            fault = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if fault != "ok" or connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise InputError(f"SQLite says: {fault if fault != 'ok' else 'a row belongs to none'}")
            check_rows(connection)
        except InputError as error:
            raise InputError(f"{path} is damaged ({error}): copy the world again") from None
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def explained(error: BaseException, path: Path | None) -> BaseException:
    """An error of SQLite as one that says what to do: InputError, or OSError for a full disk; others as they are."""
    if not isinstance(error, sqlite3.DatabaseError | UnicodeError) or isinstance(error, sqlite3.ProgrammingError):
        return error
    code = _code(error)
    if code == "SQLITE_FULL" or (code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and _is_full(path)):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return InputError(f"another process has used {path} for {_WAIT} seconds: try again when it has finished")
    if code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return InputError(f"{path} cannot be used ({error}): check its disk and your permissions")
    text = " ".join(str(error).split())[:120]
    return InputError(f"{path} is damaged ({text}): copy the world again")


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _bring_forward(connection: sqlite3.Connection, path: Path) -> None:
    try:
        migrate(connection)
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}): copy the world again") from None


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Stores of older versions had a write-ahead log, which readers need to write for; another user of it keeps it."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        return
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if not _code(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise
    connection.execute(f"PRAGMA busy_timeout = {_WAIT * 1000}")


def _code(error: BaseException) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _is_full(path: Path | None) -> bool:
    try:
        return path is not None and shutil.disk_usage(path.parent).free < _NEEDED
    except OSError:
        return False


def _check_regular(path: Path) -> None:
    """Raises InputError where the store, or what SQLite has laid beside it, is no regular file."""
    open_regular(path).close()
    for companion in _companions(path):
        try:
            regular = stat.S_ISREG(companion.stat().st_mode)
        except FileNotFoundError:  # a writer has finished meanwhile
            continue
        except OSError as error:
            raise InputError(f"{companion} cannot be read ({error.strerror}): remove it") from None
        if not regular:
            raise InputError(f"{companion} is no regular file: a world holds nothing else; remove it")


def _companions(path: Path) -> list[Path]:
    """The files that SQLite has laid beside the store."""
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-journal", "-shm")]
    return [file for file in beside if os.path.lexists(file)]


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        return _prepared(
            sqlite3.connect(address, uri=True, isolation_level=None, timeout=_WAIT, check_same_thread=False)
        )
    except sqlite3.Error as error:
        raise explained(error, path) from None


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "foreign_keys = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _in_memory_copy(path: Path) -> sqlite3.Connection:
    """The store with what its journal holds, without a file beside it."""
    journals = [file for file in _companions(path) if not file.name.endswith("-shm") and file.stat().st_size]
    if journals:
        with tempfile.TemporaryDirectory(prefix="ignota-") as folder:
            for file in (path, *journals):
                (Path(folder) / file.name).write_bytes(read_regular(file))
            return _moved_to_memory(_connected(Path(folder) / path.name, "rw"))
    data = bytearray(read_regular(path))
    data[18:20] = b"\x01\x01"  # a database in memory has no write-ahead log
    memory = _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
    memory.deserialize(bytes(data))
    return memory


def _moved_to_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    memory = _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
    try:
        connection.backup(memory)
    finally:
        connection.close()
    return memory
