"""ZIP archives from elsewhere: looked at before anything is unpacked, and only what was asked for is."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from errors import BundleError
from workspace.files import disk_full_explained, size_in_words

MOST_FILES = 5_000
MOST_BYTES = 8 * 10**9
"""Unpacked, of one file and of all together."""
MOST_RATIO = 200
"""Unpacked to packed size; weights hardly get smaller."""
SMALL = 2**20
"""Files up to this size may be packed however well."""
_REMEDY = "Do not use it; get the package again from its maker."
_CHUNK = 2**20


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    path: PurePosixPath
    """Below the archive's root, with forward slashes, whatever the archive has."""
    size: int
    info: zipfile.ZipInfo


class Archive:
    """An open ZIP whose names, sizes and kinds of files have been checked."""

    def __init__(self, name: str, opened: zipfile.ZipFile) -> None:
        self.name = name
        self._opened = opened
        self.members = _checked(name, opened.infolist())

    def ending(self, *suffixes: str) -> list[Member]:
        """Files whose names end so, whatever the case."""
        return [m for m in self.members if m.path.suffix.casefold() in suffixes]

    def beside(self, member: Member, name: str) -> Member | None:
        """The file that `name`, as written in `member`, means: relative to it, whatever the case and the slashes."""
        wanted = str(member.path.parent / name.replace("\\", "/")).casefold()
        return next((m for m in self.members if str(m.path).casefold() == wanted), None)

    def read(self, member: Member, most_bytes: int) -> bytes:
        """The content of a small file.

        Raises:
            BundleError: it is larger than `most_bytes`, or damaged.
        """
        if member.size > most_bytes:
            raise BundleError(f"{member.path} in {self.name} is too large ({size_in_words(member.size)}).", _REMEDY)
        with self._explained(member), self._opened.open(member.info) as file:
            return file.read(most_bytes)

    def unpack(self, member: Member, target: Path) -> None:
        """Write one file to `target`.

        Raises:
            BundleError: it is damaged.
            DiskFullError: there is no room.
        """
        with disk_full_explained(target), target.open("wb") as into, self._explained(member), self._opened.open(member.info) as file:
            shutil.copyfileobj(file, into, _CHUNK)

    @contextlib.contextmanager
    def _explained(self, member: Member) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
            raise BundleError(f"{member.path} in {self.name} is damaged ({error}).", "Copy or download the package again.") from error


@contextlib.contextmanager
def open_archive(path: Path, name: str = "") -> Iterator[Archive]:
    """Open a ZIP (.zip, .dlpk).

    Raises:
        BundleError: it is none, or holds what no honest package does: names that lead outside, links, far too much.
    """
    name = name or path.name
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise BundleError(f"{name} is not a ZIP archive, or only a part of one.", "Copy or download the file again.") from error
    with opened:
        yield Archive(name, opened)


def _checked(name: str, infos: list[zipfile.ZipInfo]) -> list[Member]:
    if len(infos) > MOST_FILES:
        raise BundleError(f"{name} holds {len(infos):,} files; a model package has a few.", _REMEDY)
    members, seen, total = [], set(), 0
    for info in infos:
        plain = info.filename.replace("\\", "/")
        for trap, what in _TRAPS:
            if trap(info, plain):
                raise BundleError(f"{name} holds {plain[:120]!r}, {what}.", _REMEDY)
        if plain.endswith("/"):
            continue
        path = PurePosixPath(plain)
        total += info.file_size
        if total > MOST_BYTES:
            raise BundleError(f"{name} would unpack to more than {size_in_words(MOST_BYTES)}.", _REMEDY)
        if info.file_size > SMALL and info.file_size > MOST_RATIO * max(info.compress_size, 1):
            raise BundleError(f"{plain} in {name} would unpack to {info.file_size // max(info.compress_size, 1):,} times its size.", _REMEDY)
        if str(path).casefold() in seen:
            raise BundleError(f"{name} holds {plain!r} twice.", _REMEDY)
        seen.add(str(path).casefold())
        members.append(Member(path, info.file_size, info))
    return members


def _is_link(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


_TRAPS: tuple[tuple[Callable[[zipfile.ZipInfo, str], bool], str], ...] = (
    (lambda info, name: not name.strip("/") or "\x00" in info.orig_filename, "which is no name"),
    (lambda info, name: name.startswith("/") or ":" in name.split("/")[0], "which is not below its own folder"),
    (lambda info, name: ".." in name.split("/"), "a name that leads outside its folder"),
    (lambda info, name: _is_link(info), "a link or a device instead of a file"),
    (lambda info, name: bool(info.flag_bits & 0x1), "which is encrypted"),
)
