"""Files written by threads of their own, in bounded memory, with the checksum of each."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

THREADS = 2
AT_ONCE_BYTES = 2**20
"""A thread is given so much at once: handing over tile by tile costs more than a tenth of an export."""
WAITING_BYTES = 32 * 2**20
"""No more than this (and what was put last) waits to be written."""


class FileQueue:
    """Takes files in any order; what went wrong with one is raised by a later call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: dict[str, str] = {}
        """SHA-256 by path, in the order in which the files were put; complete after `wait`."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tiles")
        self._waiting: deque[tuple[int, Future[dict[str, str]]]] = deque()
        self.waiting_bytes = 0
        self._gathered: dict[str, bytes] = {}
        self._gathered_bytes = 0
        self._folders: set[str] = set()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Have files written.

        Args:
            files: By path below the folder, with forward slashes; folders are made.

        Raises:
            OSError: an earlier file could not be written.
        """
        for parent in {path.rpartition("/")[0] for path in files} - self._folders:
            (self.folder / parent).mkdir(parents=True, exist_ok=True)
            self._folders.add(parent)
        size = sum(map(len, files.values()))
        self.waiting_bytes += size
        self._gathered |= files
        self._gathered_bytes += size
        if self._gathered_bytes >= AT_ONCE_BYTES:
            self._hand_over()
        while self._waiting and (self.waiting_bytes > WAITING_BYTES or self._waiting[0][1].done()):
            self._finish_first()

    def wait(self) -> None:
        """Until everything is written. Raises: OSError: a file could not be written."""
        self._hand_over()
        while self._waiting:
            self._finish_first()

    def close(self) -> None:
        """Give up what was not begun, wait for what was."""
        self._pool.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        self._waiting.append((self._gathered_bytes, self._pool.submit(_write, self.folder, self._gathered)))
        self._gathered, self._gathered_bytes = {}, 0

    def _finish_first(self) -> None:
        size, writing = self._waiting.popleft()
        self.waiting_bytes -= size
        self.checksums |= writing.result()


def _write(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    for path, data in files.items():
        with open(f"{folder}/{path}", "wb") as file:  # noqa: PTH123 - quicker than Path, thousands of times
            file.write(data)
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
