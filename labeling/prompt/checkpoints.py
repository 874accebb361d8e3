"""What can answer prompts on this installation: Smart select always; SAM where a checkpoint lies or can be fetched. No torch here."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import BundleError, ModelNotFoundError
from models.download import Progress, download, is_address
from workspace.files import folder_name, read_json, write_json

Kind = Literal["smart", "sam"]
SMART_SELECT = "smart-select"
SUFFIXES = (".pth", ".pt", ".safetensors")
PUBLISHED_AT = "https://dl.fbaipublicfiles.com/segment_anything"
SAM2_PUBLISHED_AT = "https://dl.fbaipublicfiles.com/segment_anything_2/092824"
MOBILE_PUBLISHED_AT = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights"
LICENCE = "Apache-2.0 (Meta AI, Segment Anything)"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint."""

    name: str
    title: str
    summary: str
    file: str
    bytes: int
    sha256: str
    published_at: str = PUBLISHED_AT
    licence: str = LICENCE
    library: str = ""
    """Without which it cannot be used; it is only listed where that is installed."""


def _sam2(size: str, title: str, about: str, count: int, sha256: str) -> Checkpoint:
    name, summary = f"sam2.1-hiera-{size}", f"The successor of SAM, made for pictures and videos. {about}"
    return Checkpoint(
        name, f"SAM 2.1, {title}", summary, f"sam2.1_hiera_{size.replace('-', '_')}.pt", count, sha256, SAM2_PUBLISHED_AT, "Apache-2.0 (Meta AI, SAM 2)", "sam2"
    )


_ABOUT = "Segment Anything finds whole things from a click, also ones it was never taught."
CHECKPOINTS = (
    Checkpoint(
        "sam-vit-b",
        "SAM, base (ViT-B)",
        f"{_ABOUT} The smallest and quickest of three: a few seconds for each new part of the picture on a laptop.",
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    Checkpoint(
        "sam-vit-l",
        "SAM, large (ViT-L)",
        f"{_ABOUT} Cleaner outlines than base, about three times slower.",
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Checkpoint(
        "sam-vit-h",
        "SAM, huge (ViT-H)",
        f"{_ABOUT} The best outlines; about six times slower than base, and needs 6 GB of memory. Best with a GPU.",
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    Checkpoint(
        "mobile-sam",
        "MobileSAM",
        "Taught by SAM to answer like it, with a far smaller network: a tenth of the download of SAM's base, and quicker; outlines are less exact.",
        "mobile_sam.pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        MOBILE_PUBLISHED_AT,
        "Apache-2.0 (Kyung Hee University, MobileSAM)",
    ),
    _sam2("tiny", "Tiny (Hiera)", "The smallest of four.", 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    _sam2("small", "Small (Hiera)", "The second smallest of four.", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    _sam2("base-plus", "Base Plus (Hiera)", "The second largest of four.", 323_606_802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    _sam2("large", "Large (Hiera)", "The largest of four. Best with a GPU.", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
)
"""Sizes and SHA-256 of the files as they are published."""


@dataclass(frozen=True)
class Tool:
    """One line of the list of tools."""

    name: str
    title: str
    summary: str
    kind: Kind
    licence: str
    bytes: int
    """Of the checkpoint."""
    path: Path | None
    """The checkpoint on this machine; None: to be fetched first (or none needed)."""

    @property
    def available(self) -> bool:
        """Answers at once."""
        return self.kind == "smart" or self.path is not None


_SMART = Tool(
    SMART_SELECT,
    "Smart select",
    "Follows colours and edges; knows nothing of things. Needs no download. Good on roofs, ponds and fields that differ from what is around them.",
    "smart",
    "",
    0,
    None,
)


class Checkpoints:
    """The checkpoints of one installation.

    Args:
        folder: Fetched ones lie here (`<data folder>/models/sam`); a person may put others there.
        mirror: A folder with the published files, or an http(s) address below which they lie; empty: where their makers publish them.
    """

    def __init__(self, folder: Path, mirror: str = "") -> None:
        self.folder, self._mirror = folder, mirror
        self._address = mirror.rstrip("/") if is_address(mirror) else ""

    def tools(self) -> list[Tool]:
        """Smart select, the published checkpoints, then other files that lie beside them."""
        found = [_SMART]
        for one in CHECKPOINTS:
            if one.library and importlib.util.find_spec(one.library) is None:
                continue
            path = next((folder / one.file for folder in self._folders() if (folder / one.file).is_file()), None)
            found.append(Tool(one.name, one.title, one.summary, "sam", one.licence, one.bytes, path))
        for path in self._others():
            about = "A checkpoint that was put on this server by hand."
            found.append(Tool(f"sam-file-{folder_name(path.stem)}", f"SAM from {path.name}", about, "sam", "", path.stat().st_size, path))
        return found

    def tool(self, name: str) -> Tool:
        """The tool with this name.

        Raises:
            ModelNotFoundError: there is none.
        """
        for tool in self.tools():
            if tool.name == name:
                return tool
        raise ModelNotFoundError("This tool is not on this server.", "Reload the page and choose another.")

    def fetch(self, name: str, progress: Progress | None = None) -> Path:
        """Download a published checkpoint; goes on where an earlier try broke off.

        Raises:
            ModelNotFoundError: no published checkpoint has this name.
            DownloadError, DiskFullError: see `models.download`.
        """
        one = _published(name)
        if one is None:
            raise ModelNotFoundError("This tool cannot be downloaded.", "Choose another.")
        tool = self.tool(name)
        if tool.path is not None:
            return tool.path
        path = self.folder / one.file
        download(f"{self._address or one.published_at}/{one.file}", path, sha256=one.sha256, progress=progress)
        self._remember(path, one.sha256)
        return path

    def checksum(self, tool: Tool) -> str:
        """SHA-256 of a tool's checkpoint; worked out once for each version of the file.

        Raises:
            BundleError: it bears the name of a published checkpoint and is not that.
        """
        assert tool.path is not None
        state = tool.path.stat()
        known = self._known().get(str(tool.path))
        if known and known[:2] == [state.st_size, state.st_mtime_ns]:
            digest = str(known[2])
        else:
            with tool.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._remember(tool.path, digest)
        one = _published(tool.name)
        if one is not None and digest != one.sha256:
            raise BundleError(
                f"{tool.path.name} is not the file that was published under this name.",
                "Delete it and download it again; a checkpoint of your own needs another file name.",
            )
        return digest

    def _folders(self) -> list[Path]:
        return [self.folder, *([Path(self._mirror)] if self._mirror and not self._address else [])]

    def _others(self) -> Iterator[Path]:
        official = {one.file for one in CHECKPOINTS}
        for folder in self._folders():
            with contextlib.suppress(OSError):
                yield from sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name not in official and p.name[0] != ".")

    def _known(self) -> dict[str, list[int | str]]:
        try:
            known: dict[str, list[int | str]] = read_json(self.folder / "checksums.json")
        except (OSError, json.JSONDecodeError):
            return {}
        return known

    def _remember(self, path: Path, digest: str) -> None:
        state = path.stat()
        write_json(self.folder / "checksums.json", self._known() | {str(path): [state.st_size, state.st_mtime_ns, digest]})


def _published(name: str) -> Checkpoint | None:
    return next((one for one in CHECKPOINTS if one.name == name), None)
