"""Files by their sha256 on the disk of one machine, shared by its processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from atomate2_alpot.schemas.files import write_atomic

SHA256 = re.compile(r"[0-9a-f]{64}")
EVICTING = "evicting.lock"
"""Held by the process that makes room: two at once would remove more than they need."""


class CacheError(OSError):
    """The folder of a cache cannot be used."""


class Lease:
    """A file of a cache in use: no process removes it until the lease is released.

    Parameters
    ----------
    handle : int
        Open descriptor of the file's lock.
    path : Path
        The file.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self._handle: int | None = handle
        self.path = path

    def release(self) -> None:
        """Let others remove the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class FileCache:
    """A folder ``<sha256>/<name>``, whose least recently used files go when it is full.

    A file in use (leased by any process) is never removed; the folder is larger than its limit
    for as long as its files are in use. Locks are ``flock``: the folder is best on a local disk.

    Parameters
    ----------
    folder : Path
        Created on use.
    max_bytes : int
        Size above which files go.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder.expanduser(), max_bytes

    def lease(self, sha256: str, name: str, data: bytes) -> Lease:
        """Write a file unless it is there and whole, and keep it while it is in use.

        Parameters
        ----------
        sha256 : str
            Of ``data``.
        name : str
            File name.
        data : bytes

        Raises
        ------
        CacheError
            If the folder cannot be written or locked.
        """
        path = self.folder / sha256 / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lease = Lease(_lock(self._lock_of(sha256), fcntl.LOCK_SH), path)
            if not _is_whole(path, sha256):
                path.parent.mkdir(exist_ok=True)
                self._make_room(len(data))
                write_atomic(path, data)
            os.utime(self._lock_of(sha256))
        except OSError as error:
            raise CacheError(
                f"cache {self.folder} cannot be used ({error.strerror}); set ALPOT_CACHE_DIR to a "
                "folder on a local disk with room"
            ) from error
        return lease

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(n_bytes for _, n_bytes, _ in self._entries())

    def _make_room(self, n_bytes: int) -> None:
        """Remove files that nobody uses, the least recently used first, until there is room."""
        with _only_one(self.folder / EVICTING) as alone:
            if not alone:
                return
            entries = sorted(self._entries())
            total = sum(size for _, size, _ in entries) + n_bytes
            for _, size, sha256 in entries:
                if total <= self.max_bytes:
                    return
                total -= size if self._remove(sha256) else 0

    def _remove(self, sha256: str) -> bool:
        """Remove a file unless it is in use; tell whether it is gone."""
        lock = self._lock_of(sha256)
        try:
            handle = _lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            rmtree(self.folder / sha256, ignore_errors=True)
            lock.unlink(missing_ok=True)  # whoever waits for it sees that and makes a new one
        finally:
            os.close(handle)
        return True

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """Yield (last used, bytes, sha256)."""
        for folder in self.folder.iterdir():
            if SHA256.fullmatch(folder.name):
                with suppress(FileNotFoundError):  # another process removed it
                    sizes = [p.stat().st_size for p in folder.iterdir()]
                    lock = self._lock_of(folder.name)
                    used = (lock if lock.exists() else folder).stat().st_mtime
                    yield used, sum(sizes), folder.name

    def _lock_of(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.lock"


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _lock(path: Path, kind: int) -> int:
    """Return a descriptor that holds a lock on a file which is still there."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, kind)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


@contextmanager
def _only_one(path: Path) -> Iterator[bool]:
    """Tell whether no other process is in the block, without waiting."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
