import errno
import os
from pathlib import Path

import numpy as np
import pytest

from errors import DiskFullError
from workspace.array_store import ArrayStore

BIG = {"features": np.arange(50_000, dtype=np.float32) / 50_000, "shape": np.array([7, 9], np.int32)}


def key(n):
    return f"{n:064x}"


def test_floats_come_back_in_half_precision_and_numbers_as_they_were(tmp_path):
    ArrayStore(tmp_path, 10**9).put(key(1), BIG)
    found = ArrayStore(tmp_path, 10**9).get(key(1))
    assert found["features"].dtype == np.float16
    assert np.abs(found["features"] - BIG["features"]).max() < 1e-3
    assert found["shape"].tolist() == [7, 9]


def test_the_least_recently_used_go_first(tmp_path):
    store = ArrayStore(tmp_path, 450_000)
    for n in range(4):
        store.put(key(n), BIG)
        os.utime(store.path(key(n)), (n, n))
    assert all(store.holds(key(n)) for n in range(4))
    store.get(key(0))
    store.put(key(4), BIG)
    assert [n for n in range(5) if store.holds(key(n))] == [0, 2, 3, 4]
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors")) < 450_000


def test_another_process_counts_what_is_there(tmp_path):
    for n in range(3):
        ArrayStore(tmp_path, 10**9).put(key(n), BIG)
    ArrayStore(tmp_path, 250_000).put(key(3), BIG)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors")) <= 250_000


def test_one_larger_than_the_limit_is_kept(tmp_path):
    store = ArrayStore(tmp_path, 10)
    store.put(key(1), BIG)
    assert store.holds(key(1))


def test_a_damaged_one_is_as_good_as_none(tmp_path):
    store = ArrayStore(tmp_path, 10**9)
    store.put(key(1), BIG)
    store.path(key(1)).write_bytes(b"\x10\0\0\0\0\0\0\0cut")
    assert store.get(key(1)) is None
    assert not store.holds(key(1))
    assert store.get(key(2)) is None


def test_a_mapped_one_is_read_where_it_is_looked_at(tmp_path):
    store = ArrayStore(tmp_path, 10**9)
    store.put(key(1), {"grid": np.arange(24).reshape(4, 3, 2)})
    mapped = store.mapped(key(1))
    store.path(key(1)).unlink()
    assert mapped.shape("grid") == (4, 3, 2)
    assert mapped.window("grid", slice(1, 3), slice(2, 3)).tolist() == [[[10, 11]], [[16, 17]]]
    assert store.mapped(key(1)) is None


def test_of_a_damaged_one_nothing_is_mapped(tmp_path):
    store = ArrayStore(tmp_path, 10**9)
    store.put(key(1), BIG)
    store.path(key(1)).write_bytes(b"\x10\0\0\0\0\0\0\0cut")
    assert store.mapped(key(1)) is None
    assert not store.holds(key(1))


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = ArrayStore(tmp_path, 10**9)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFullError):
        store.put(key(1), BIG)
    assert not list(tmp_path.rglob("*.safetensors"))
