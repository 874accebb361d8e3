"""The checksum of every image and label of a tile set, in a text file that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tiles.formats.base import Finding

MANIFEST_FILE = "manifest.sha256"
REMEDY = f"If nobody changed it on purpose, export the tiles again; else delete {MANIFEST_FILE}."


def manifest_text(checksums: Mapping[str, str]) -> str:
    """The file's text: a line for each path (below the folder, with forward slashes), in their order by name."""
    return "".join(f"{checksums[path]}  {path}\n" for path in sorted(checksums))


def check_manifest(folder: Path) -> Iterator[Finding]:
    """What is no longer as it was written; nothing for a folder without manifest. Files that are gone are for other checks to tell."""
    try:
        lines = (folder / MANIFEST_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        yield Finding(MANIFEST_FILE, "a text of checksums", "a file that cannot be read", REMEDY, "none")
        return
    for number, line in enumerate(lines, 1):
        checksum, gap, path = line[:64], line[64:66], line[66:]
        if gap != "  " or not path:
            yield Finding(MANIFEST_FILE, "lines of a checksum, two blanks and a path", f"line {number}: {line[:40]!r}", REMEDY, "none")
        elif checksum_of(folder / path) not in {checksum, None}:
            yield Finding(path, f"the content it was written with ({MANIFEST_FILE})", "another content", REMEDY, "none")


def checksum_of(path: Path) -> str | None:
    """SHA-256 of a file, as text; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
