"""Files are written behind one's back, but completely, and in bounded memory."""

from __future__ import annotations

import hashlib

import pytest

from tiles import file_queue
from tiles.file_queue import FileQueue


def test_files_and_their_checksums(tmp_path):
    files = FileQueue(tmp_path)
    for number in range(50):
        files.put({f"a/{number}.txt": b"%d" % number, f"a/b/{number}.txt": b""})
    files.wait()
    files.close()
    assert [(tmp_path / f"a/{n}.txt").read_text() for n in range(50)] == [str(n) for n in range(50)]
    assert list(files.checksums)[:3] == ["a/0.txt", "a/b/0.txt", "a/1.txt"]
    assert files.checksums["a/17.txt"] == hashlib.sha256(b"17").hexdigest()


def test_no_more_than_so_much_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(file_queue, "WAITING_BYTES", 1000)
    monkeypatch.setattr(file_queue, "AT_ONCE_BYTES", 500)
    files = FileQueue(tmp_path)
    for number in range(20):
        files.put({f"{number}": bytes(600)})
        assert files.waiting_bytes <= 1000
    files.close()


def test_what_goes_wrong_is_raised_later(tmp_path):
    (tmp_path / "in the way").mkdir()
    files = FileQueue(tmp_path)
    with pytest.raises(OSError, match="in the way"):  # at once or later: it is written by another thread
        files.put({"in the way": b""})
        files.wait()
    files.close()
