import numpy as np

from labeling.prompt.store import RecentEmbeddings
from workspace.array_store import ArrayStore

BIG = {"features": np.arange(50_000, dtype=np.float32) / 50_000, "shape": np.array([7, 9], np.int32)}


def key(n):
    return f"{n:064x}"


def test_memory_holds_the_last_ones(tmp_path):
    store = ArrayStore(tmp_path, 10**9)
    for n in range(3):
        store.put(key(n), BIG)
    recent = RecentEmbeddings(store, 250_000)
    first = recent.get(key(0))
    assert recent.get(key(0)) is first
    recent.get(key(1)), recent.get(key(2))
    assert recent.get(key(2)) is recent.get(key(2))
    assert recent.get(key(0)) is not first
    assert recent.get(key(9)) is None
