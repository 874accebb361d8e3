"""Write files so that a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT}
FREE_SPACE = "Free some space (old comparisons are usually the largest: delete them on the Compare page), then try again."


@contextlib.contextmanager
def replaced_on_success(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, because raster and vector drivers look at it.

    Raises:
        DiskFullError: the disk filled up; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        with disk_full_explained(path):
            yield temporary
            temporary.replace(path)
    finally:
        for leftover in path.parent.glob(f"{temporary.stem}*"):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn the operating system's 'no space left' into an error a person can act on."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(f"The disk is full: {path.name} was not written and nothing was changed.", FREE_SPACE) from error


def is_disk_full(error: BaseException | None) -> bool:
    """Is this the operating system's 'no space left' (or a used-up quota)?"""
    return isinstance(error, OSError) and error.errno in _FULL


def size_in_words(count: int) -> str:
    """Bytes for people: '1.5 GB', '37 MB', '4 kB'."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) durably: temporary name, fsync, rename."""
    with replaced_on_success(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, durably."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        FileNotFoundError: there is none.
        json.JSONDecodeError: it is not JSON.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def folder_name(title: str) -> str:
    """A file-system-safe name for a title a person typed: 'Fire roads (2024)' -> 'fire-roads-2024'."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:48] or "untitled"


def unused_folder(parent: Path, title: str) -> Path:
    """A folder below `parent`, named after `title`, that does not exist yet."""
    stem = folder_name(title)
    candidate, n = parent / stem, 2
    while candidate.exists():
        candidate, n = parent / f"{stem}-{n}", n + 1
    return candidate
