"""Fetch a file: with progress, checked, resumed where it broke off, and never half. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx

from errors import DownloadError
from workspace.files import disk_full_explained, replaced_on_success

Progress = Callable[[int, int | None], None]
"""Bytes so far, and in all (None where the server does not say)."""

CHUNK_BYTES = 256 * 1024
TIMEOUT_S = 20.0


def download(url: str, path: Path, *, sha256: str = "", progress: Progress | None = None) -> None:
    """Stream `url` to `path`: temporary name, size and checksum compared, then renamed.

    Args:
        url: http or https; redirects are followed.
        path: Where to; an existing file is replaced.
        sha256: Expected digest in hex, or its first digits; empty: only the size is compared.
        progress: Called after every chunk; may raise to stop.

    Raises:
        DownloadError: unreachable, refused, cut off, or not what was expected.
        DiskFullError: the disk filled up.
    """
    with replaced_on_success(path) as temporary:
        _stream(url, temporary, path.name, sha256, progress)


def download_resumable(url: str, path: Path, *, sha256: str, progress: Progress | None = None) -> None:
    """`download` for large files: what arrived before a break is kept beside as `<name>.part` and the rest is asked for.

    A part that does not end in the right checksum is thrown away. Errors as `download`.
    """
    if len(sha256) != 64:
        raise ValueError("Only a file with a full checksum can be fetched in parts.")
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_explained(path):
        _stream(url, part, path.name, sha256, progress)
        part.replace(path)


def _stream(url: str, file_path: Path, name: str, sha256: str, progress: Progress | None) -> None:
    """Append to `file_path` what it lacks, then compare size and checksum."""
    digest = hashlib.sha256()
    held = file_path.stat().st_size if file_path.exists() else 0
    if held:
        with file_path.open("rb") as file:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
        if digest.hexdigest() == sha256:
            return
    headers = {"Range": f"bytes={held}-"} if held else {}
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=TIMEOUT_S, headers=headers) as answer,
            file_path.open("ab") as file,
        ):
            if held and answer.status_code in {200, 416}:  # no part of it to be had (any more): from the start, now or the next time
                file.truncate(0)
                held, digest = 0, hashlib.sha256()
            answer.raise_for_status()
            length = answer.headers.get("content-length")
            total = held + int(length) if length and "content-encoding" not in answer.headers else None
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                held += len(chunk)
                if progress:
                    progress(held, total)
            file.flush()
    except httpx.HTTPStatusError as error:
        raise DownloadError(
            f"{name} could not be fetched: the server answered {error.response.status_code}.",
            "Try again later, or choose another model.",
        ) from error
    except (httpx.ConnectError, httpx.TimeoutException) as error:
        raise DownloadError(
            f"{name} could not be fetched: its server cannot be reached.",
            "Check that this computer reaches the internet, or choose a model that is already here.",
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"{name} could not be fetched: {type(error).__name__}.",
            "Check that this computer reaches the internet, or choose a model that is already here.",
        ) from error
    if total is not None and held != total:
        raise DownloadError(f"The download of {name} broke off after {held} of {total} bytes.", "Try again.")
    if not digest.hexdigest().startswith(sha256.lower()):
        file_path.unlink()
        raise DownloadError(f"The download of {name} is damaged: its checksum is not the published one.", "Try again.")
