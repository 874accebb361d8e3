"""Embeddings on disk: by content key, in half precision, up to a size; the least recently used go first. No torch here."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from labeling.prompt.model import Embedding
from workspace.files import replaced_on_success

_SUFFIX = ".safetensors"


class EmbeddingStore:
    """A folder of embeddings. Several processes may use it; any of them may tidy up."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._held: int | None = None
        """Bytes in the folder as this process knows them; counted at the first write."""

    def path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}{_SUFFIX}"

    def holds(self, key: str) -> bool:
        return self.path(key).exists()

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The embedding, as it was kept (floats in half precision); None when it is not there or cannot be read."""
        path = self.path(key)
        try:
            embedding = load_file(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):  # damaged: made anew
            path.unlink(missing_ok=True)
            return None
        return embedding

    def put(self, key: str, embedding: Embedding) -> None:
        """Keep an embedding; make room first when the limit is reached.

        Raises:
            DiskFullError: no room; nothing was changed.
        """
        arrays = {name: np.ascontiguousarray(halved(array)) for name, array in embedding.items()}
        with replaced_on_success(self.path(key)) as temporary:
            save_file(arrays, temporary)
            size = temporary.stat().st_size
        if self._held is None:
            self._held = sum(s for _, s, _ in self._files())
        else:
            self._held += size
        if self._held > self._limit:
            self._evict(keep=self.path(key))

    def _files(self) -> list[tuple[int, int, Path]]:
        """(last use in ns, bytes, path) of every embedding."""
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
            if held <= self._limit * 0.9:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                held -= size
        self._held = held


class RecentEmbeddings:
    """The last embeddings used, in memory, in front of a store. Safe for threads."""

    def __init__(self, store: EmbeddingStore, limit_bytes: int) -> None:
        self._store, self._limit = store, limit_bytes
        self._recent: OrderedDict[str, dict[str, NDArray[Any]]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """See `EmbeddingStore.get`."""
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        embedding = self._store.get(key)
        if embedding is not None:
            with self._lock:
                if key not in self._recent:
                    self._recent[key] = embedding
                    self._held += _bytes(embedding)
                while self._held > self._limit and len(self._recent) > 1:
                    self._held -= _bytes(self._recent.popitem(last=False)[1])
        return embedding


def halved(array: NDArray[Any]) -> NDArray[Any]:
    """Floats in half precision, anything else as it is."""
    return array.astype(np.float16) if np.issubdtype(array.dtype, np.floating) else array


def _bytes(embedding: Embedding) -> int:
    return sum(array.nbytes for array in embedding.values())
