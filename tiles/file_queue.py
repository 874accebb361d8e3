"""Files written by threads of their own, in bounded memory, with the checksum of each."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

THREADS = 2
WAITING_BYTES = 32 * 2**20
"""No more than this (and one file) waits to be written."""


class FileQueue:
    """Takes files in any order; what went wrong with one is raised by a later call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: dict[str, str] = {}
        """SHA-256 by path, in the order in which the files were put; complete after `wait`."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tiles")
        self._waiting: deque[tuple[str, int, Future[str]]] = deque()
        self._bytes = 0
        self._folders: set[Path] = set()

    def put(self, path: str, data: bytes) -> None:
        """Have a file written.

        Args:
            path: Below the folder, with forward slashes; its folder is made.
            data: All of it.

        Raises:
            OSError: an earlier file could not be written.
        """
        target = self.folder / path
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        self._bytes += len(data)
        self._waiting.append((path, len(data), self._pool.submit(_write, target, data)))
        while self._waiting and (self._bytes > WAITING_BYTES or self._waiting[0][2].done()):
            self._finish_first()

    def wait(self) -> None:
        """Until everything is written. Raises: OSError: a file could not be written."""
        while self._waiting:
            self._finish_first()

    def close(self) -> None:
        """Give up what was not begun, wait for what was."""
        self._pool.shutdown(cancel_futures=True)

    def _finish_first(self) -> None:
        path, size, writing = self._waiting.popleft()
        self._bytes -= size
        self.checksums[path] = writing.result()


def _write(target: Path, data: bytes) -> str:
    target.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
