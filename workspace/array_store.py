"""Arrays on disk: by content key, floats in half precision, up to a size; the least recently used go first. No torch here."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from workspace.files import replaced_on_success

_SUFFIX = ".safetensors"


class ArrayStore:
    """A folder of named arrays. Several processes may use it; any of them may tidy up."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self.limit_bytes = folder, limit_bytes
        self._held: int | None = None
        """Bytes in the folder as this process knows them; counted at the first write."""

    def path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}{_SUFFIX}"

    def holds(self, key: str) -> bool:
        return self.path(key).exists()

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays, as they were kept (floats in half precision); None when they are not there or cannot be read."""
        path = self.path(key)
        try:
            arrays = load_file(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):  # damaged: made anew
            path.unlink(missing_ok=True)
            return None
        return arrays

    def mapped(self, key: str) -> MappedArrays | None:
        """The arrays as they lie on disk, read only where they are looked at; None as with `get`."""
        path = self.path(key)
        try:
            arrays = MappedArrays(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):  # damaged: made anew
            path.unlink(missing_ok=True)
            return None
        return arrays

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays; make room first when the limit is reached.

        Raises:
            DiskFullError: no room; nothing was changed.
        """
        kept = {name: np.ascontiguousarray(halved(array)) for name, array in arrays.items()}
        with replaced_on_success(self.path(key)) as temporary:
            temporary.write_bytes(save(kept))  # `save_file` does not tell of a full disk as such
            size = temporary.stat().st_size
        if self._held is None:
            self._held = sum(s for _, s, _ in self._files())
        else:
            self._held += size
        if self._held > self.limit_bytes:
            self._evict(keep=self.path(key))

    def drop(self, key: str) -> None:
        """Keep these arrays no longer."""
        self.path(key).unlink(missing_ok=True)
        self._held = None

    def free_bytes(self) -> int:
        """What the disk has left."""
        return shutil.disk_usage(self._folder).free

    def _files(self) -> list[tuple[int, int, Path]]:
        """(last use in ns, bytes, path) of everything."""
        found = []
        for path in self._folder.glob(f"*/*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process tidied up at the same moment
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        return found

    def _evict(self, keep: Path) -> None:
        """Delete the least recently used until a tenth of the limit is free again."""
        files = sorted(self._files())
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if held <= self.limit_bytes * 0.9:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                held -= size
        self._held = held


class MappedArrays:
    """A file of an `ArrayStore`, mapped into memory: it can be read from for as long as this lives, even when it was deleted meanwhile."""

    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, "np")
        self.names: tuple[str, ...] = tuple(sorted(self._file.keys()))

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(name).get_shape())

    def window(self, name: str, rows: slice, columns: slice) -> NDArray[Any]:
        """A copy of these along the first two axes."""
        found: NDArray[Any] = self._file.get_slice(name)[rows, columns]
        return found


def halved(array: NDArray[Any]) -> NDArray[Any]:
    """Floats in half precision, anything else as it is."""
    return array.astype(np.float16) if np.issubdtype(array.dtype, np.floating) else array
