"""Fetch a file: with progress, checked, resumed where it broke off, and never half. No torch here.

Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), as httpx reads them.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import httpx

from errors import DownloadError
from workspace.files import disk_full_explained, replaced_on_success, write_text

Progress = Callable[[int, int | None], None]
"""Bytes so far, and in all (None where the server does not say)."""
Judge = Callable[[str], object]
"""Raises where an address may not be asked; called before each request, redirects included."""

CHUNK_BYTES = 256 * 1024
TIMEOUT_S = 20.0
"""A server that sends nothing for so long has stopped answering."""


def download(
    url: str, path: Path, *, sha256: str = "", mirror: str = "", progress: Progress | None = None, judge: Judge | None = None
) -> None:
    """Fetch `url` to `path`: what arrives is kept beside as `<name>.part`, size and checksum are compared, then it is renamed.

    What arrived before a break is not asked for again where it can be told that it is still the same file: by the checksum, else by the
    server's own mark (ETag). A part that does not end in the right checksum is thrown away.

    Args:
        url: http or https; redirects are followed.
        path: Where to; an existing file is replaced.
        sha256: Expected digest in hex, or its first digits. Empty: the one that the server publishes (Hugging Face does), else only the
            size is compared.
        mirror: A folder, or an http(s) address, with files of the published names. What lies in the folder is copied; an address is asked
            instead of `url`.
        progress: Called after every chunk; may raise to stop.
        judge: See `Judge`.

    Raises:
        DownloadError: unreachable, refused, cut off, or not what was expected.
        DiskFullError: the disk filled up.
    """
    if is_address(mirror):
        url = f"{mirror.rstrip('/')}/{path.name}"
    elif mirror and (Path(mirror) / path.name).is_file():
        _copy(Path(mirror) / path.name, path, sha256, progress)
        return
    part, mark = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag")
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_explained(path):
        _stream(url, part, mark, sha256.lower(), progress, judge)
        part.replace(path)
        mark.unlink(missing_ok=True)


def is_address(place: str) -> bool:
    """Is this an http(s) address, and not a folder?"""
    return place.lower().startswith(("http://", "https://"))


def _copy(source: Path, path: Path, sha256: str, progress: Progress | None) -> None:
    digest, total, done = hashlib.sha256(), source.stat().st_size, 0
    with replaced_on_success(path) as temporary, source.open("rb") as file, temporary.open("wb") as out:
        while block := file.read(CHUNK_BYTES):
            out.write(block)
            digest.update(block)
            done += len(block)
            if progress:
                progress(done, total)
        if not digest.hexdigest().startswith(sha256.lower()):
            raise _damaged(f"The file {path.name} of the mirror folder", "Put the published file there.")


def _stream(url: str, part: Path, mark: Path, sha256: str, progress: Progress | None, judge: Judge | None) -> None:
    """Append to `part` what it lacks, then compare size and checksum."""
    name = part.name.removesuffix(".part")
    etag = mark.read_text(encoding="utf-8") if mark.exists() else ""
    if not (sha256 or etag):  # nothing would tell that the rest belongs to it
        part.unlink(missing_ok=True)
    held = part.stat().st_size if part.exists() else 0
    digest = _digest(part) if held else hashlib.sha256()
    if held and len(sha256) == 64 and digest.hexdigest() == sha256:
        return
    headers = (
        {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {}) | ({"If-Range": etag} if held and etag else {})
    )
    hooks = {"request": [lambda request: judge(str(request.url))]} if judge else {}
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, event_hooks=hooks) as client,
            client.stream("GET", url, headers=headers) as answer,
            part.open("ab") as file,
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if held and not _goes_on(answer, held):  # no part of it to be had (any more): from the start, now or the next time
                file.truncate(0)
                held, digest = 0, hashlib.sha256()
            answer.raise_for_status()
            sha256 = sha256 or _published_digest(answer)
            _remember(mark, answer.headers.get("etag", ""))
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
    except BlockingIOError as error:
        raise DownloadError(f"{name} is being downloaded already.", "Wait until that is done.") from error
    except httpx.ReadTimeout as error:
        raise DownloadError(
            f"The download of {name} stopped: its server sends nothing any more.", "Try again: what arrived is kept, and it goes on there."
        ) from error
    except (httpx.ConnectError, httpx.TimeoutException) as error:
        raise DownloadError(
            f"{name} could not be fetched: its server cannot be reached.",
            "Check that this computer reaches the internet (behind a proxy: HTTPS_PROXY), or choose a model that is already here. "
            "Without internet, TERRATUNE_WEIGHTS_MIRROR can name a folder with the files.",
        ) from error
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise DownloadError(f"The download of {name} broke off.", "Try again: what arrived is kept, and it goes on there.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"{name} could not be fetched: {type(error).__name__}.",
            "Try again: what arrived is kept. If it lasts, check that this computer reaches the internet.",
        ) from error
    if total is not None and held != total:
        raise DownloadError(f"The download of {name} broke off after {held} of {total} bytes.", "Try again.")
    if not digest.hexdigest().startswith(sha256):
        part.unlink()
        mark.unlink(missing_ok=True)
        raise _damaged(f"The download of {name}", "Try again.")


def _goes_on(answer: httpx.Response, held: int) -> bool:
    """Does the server send the rest, from where we are?"""
    if answer.status_code != 206:
        return answer.status_code not in {200, 416}  # an error says nothing about the part
    start = re.match(r"bytes (\d+)-", answer.headers.get("content-range", f"bytes {held}-"))
    return start is not None and int(start.group(1)) == held


def _published_digest(answer: httpx.Response) -> str:
    """SHA-256 that Hugging Face says of a large file, before it redirects to where the file lies; empty where none is said."""
    marks = (one.headers.get("x-linked-etag", "").strip('"').lower() for one in (*answer.history, answer))
    return next((mark for mark in marks if re.fullmatch(r"[0-9a-f]{64}", mark)), "")


def _remember(mark: Path, etag: str) -> None:
    """A weak mark (W/...) does not promise the same bytes."""
    if etag and not etag.startswith("W/"):
        write_text(mark, etag)
    else:
        mark.unlink(missing_ok=True)


def _digest(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _damaged(what: str, remedy: str) -> DownloadError:
    return DownloadError(f"{what} is damaged: its checksum is not the published one.", remedy)
