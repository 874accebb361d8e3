"""Where rasters may come from: server folders below the configured roots, and public addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from errors import SourceNotAllowedError
from imagery.remote import public_address, refuse_scheme
from workspace.settings import Settings

SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png", ".img", ".asc", ".webp", ".bmp", ".gif"})
MAX_LISTED = 5_000
MAX_DEPTH = 6


def rasters_below(roots: Sequence[Path]) -> list[Path]:
    """Files that look like rasters below `roots`, sorted; hidden folders left out, links not followed out of the roots.

    Looks at most 6 folders deep and stops after 5,000 files, so that a slow network drive cannot hold up the page for ever.
    """
    found: list[Path] = []
    for root in roots:
        for path in _walk(root, MAX_DEPTH):
            found.append(path)
            if len(found) >= MAX_LISTED:
                return sorted(found)
    return sorted(found)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:  # unreadable, or gone meanwhile: it simply offers nothing
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if depth > 0:
                yield from _walk(Path(entry.path), depth - 1)
        elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
            yield Path(entry.path)


def allowed_path(path: str | Path, settings: Settings) -> Path:
    """The real path of a raster below one of the configured roots, links followed first.

    Raises:
        SourceNotAllowedError: it lies elsewhere, or no root is configured.
    """
    if not settings.imagery_roots:
        raise SourceNotAllowedError(
            "No server folder is open for imagery.",
            "Upload the file, or ask the administrator to set TERRATUNE_IMAGERY_ROOTS to the folder.",
        )
    real = Path(path).expanduser().resolve()
    if not any(real.is_relative_to(root.resolve()) for root in settings.imagery_roots):
        raise SourceNotAllowedError(
            f"{real.name} is not in a folder that this installation may open.", "Choose a file from the list, or upload it."
        )
    return real


def allowed_url(url: str, settings: Settings) -> str:
    """A tidied http(s) address whose host is public (or private addresses are allowed).

    This is for a quick answer; `imagery.remote` judges every connection again, redirects included.

    Raises:
        SourceNotAllowedError: another scheme, a user name or password inside, or a private address.
        UnreadableRasterError: the host is unknown.
    """
    url = url.strip()
    refuse_scheme(url)
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise SourceNotAllowedError(
            "The address carries a user name or password, which would be saved in the project.", "Use a public or a signed address."
        )
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise SourceNotAllowedError("The address has an impossible port number.", "Paste the full address again.") from error
    assert parts.hostname is not None
    public_address(parts.hostname, port, allow_private=settings.allow_private_addresses)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))
