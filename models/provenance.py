"""How a model came to be, so that it can be checked and repeated. No torch here."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Provenance(BaseModel):
    """Facts that a person can compare; empty where they are not known. The base model is in the card itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile_set_sha256: str = ""
    """Of the tile set's manifest.sha256, which names the checksum of every picture and label; of its record, where there is none."""
    code_version: str = ""
    """Version of the program that trained it, with the commit where it is known."""
    seed: int | None = None
    package: str = ""
    """Name of the file that it was imported from."""
    package_sha256: str = ""


@cache
def code_version() -> str:
    """The program's version, and the commit of the sources where they come with their history; empty where neither is there."""
    project = REPOSITORY / "pyproject.toml"
    version = str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]) if project.is_file() else ""
    commit = _commit(REPOSITORY / ".git")
    return f"{version} ({commit[:12]})".strip() if commit else version


def _commit(folder: Path) -> str:
    """Of what is checked out; empty where that cannot be told."""
    try:
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").strip()
        packed = (folder / "packed-refs").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
