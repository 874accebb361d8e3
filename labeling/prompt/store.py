"""Embeddings lie in a `workspace.array_store`; the last ones used stay in memory. No torch here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from numpy.typing import NDArray

from labeling.prompt.model import Embedding
from workspace.array_store import ArrayStore


class RecentEmbeddings:
    """The last embeddings used, in memory, in front of a store. Safe for threads."""

    def __init__(self, store: ArrayStore, limit_bytes: int) -> None:
        self._store, self._limit = store, limit_bytes
        self._recent: OrderedDict[str, dict[str, NDArray[Any]]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """See `ArrayStore.get`."""
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


def _bytes(embedding: Embedding) -> int:
    return sum(array.nbytes for array in embedding.values())
