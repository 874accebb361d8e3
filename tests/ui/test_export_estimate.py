"""Counts are made beside the page, remembered, and dropped when nobody waits for them any more."""

from __future__ import annotations

import threading

import pytest

from errors import NoOverlapError
from labeling.export import TileEstimate
from ui import export_estimate
from ui.export_estimate import counted

RESULT = TileEstimate(7, 700, learnable=True)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch):
    """Counting waits until this is set."""
    monkeypatch.setattr(export_estimate, "PATIENCE_S", 0.01)
    opened = threading.Event()
    yield opened
    opened.set()


def finish(key) -> TileEstimate:
    return export_estimate._counts[key].result(30)


def test_a_slow_count_is_not_waited_for_and_then_remembered(gate):
    calls = []

    def count() -> TileEstimate:
        calls.append(1)
        assert gate.wait(30)
        return RESULT

    key = ("project", "slow")
    assert counted(key, count) is None
    gate.set()
    assert finish(key) == RESULT
    assert counted(key, count) == RESULT
    assert calls == [1]


def test_what_was_chosen_otherwise_before_it_began_is_never_counted(gate):
    calls = []

    def count(name: str) -> TileEstimate:
        calls.append(name)
        assert gate.wait(30)
        return RESULT

    for name in ("first", "second", "third"):
        assert counted(("a project", name), lambda name=name: count(name)) is None
    assert counted(("another project", "x"), lambda: count("other")) is None
    gate.set()
    assert finish(("another project", "x")) == RESULT
    assert calls == ["first", "third", "other"]


def test_what_makes_an_export_impossible_is_told_each_time(monkeypatch):
    monkeypatch.setattr(export_estimate, "PATIENCE_S", 30)

    def count() -> TileEstimate:
        raise NoOverlapError("No label touches the imagery.", "Add the imagery they belong to.")

    for _ in range(2):
        with pytest.raises(NoOverlapError):
            counted(("project", "wrong"), count)
