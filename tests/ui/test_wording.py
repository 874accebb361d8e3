from __future__ import annotations

from ui.wording import told_once


def test_what_holds_of_many_pictures_is_told_once():
    notes = [("a.tif", "Too fine."), ("a.tif", "Bands by number."), ("b.tif", "Too fine."), ("c.tif", "Too fine."), ("", "No scores.")]
    assert told_once(notes) == ["a.tif and 2 more: Too fine.", "a.tif: Bands by number.", "No scores."]
    assert told_once([]) == []
