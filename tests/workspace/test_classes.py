"""Changes of a class list."""

from __future__ import annotations

import pytest

from errors import LabelError
from workspace.classes import free_value, moved, starter_schema, unused_colour, with_class, with_new_class, without_class


def test_new_classes_get_a_free_value_and_colour():
    schema = with_new_class(starter_schema(), "Trail", unused_colour(starter_schema()))
    trail = schema.by_name("trail")
    assert trail is not None
    assert trail.value == 3
    assert trail.colour not in {c.colour for c in starter_schema().classes}


@pytest.mark.parametrize("name", ["", "   ", "paved ROAD", "x" * 61, "fully labelled AREA"])
def test_a_name_that_is_empty_taken_or_too_long_is_refused(name: str):
    for attempt in (lambda: with_new_class(starter_schema(), name, "#123456"), lambda: with_class(starter_schema(), 2, name=name)):
        with pytest.raises(LabelError) as refused:
            attempt()
        assert refused.value.remedy


@pytest.mark.parametrize("value", [0, 1, 255, 256])
def test_a_value_that_is_taken_or_means_something_else_is_refused(value: int):
    for attempt in (lambda: with_class(starter_schema(), 2, value=value), lambda: with_new_class(starter_schema(), "Trail", "#123456", value=value)):
        with pytest.raises(LabelError) as refused:
            attempt()
        assert refused.value.remedy


def test_255_is_only_for_what_is_not_learnt():
    without = without_class(starter_schema(), 255, 0)
    assert with_new_class(without, "Doubt", "#123456", value=255).by_value(255).ignore
    with pytest.raises(LabelError, match="255"):
        with_class(starter_schema(), 255, ignore=False)


def test_a_long_description_is_refused():
    with pytest.raises(LabelError, match="too long"):
        with_class(starter_schema(), 2, description="x" * 301)


def test_free_values():
    schema = starter_schema()
    assert [free_value(schema, wanted) for wanted in (None, 7, 2, 0, 255, 300, -1)] == [3, 7, 3, 3, 3, 3, 3]


def test_classes_are_reordered_and_the_last_one_stays():
    schema = moved(starter_schema(), 0, 1)
    assert [c.value for c in schema.classes] == [1, 2, 255]
    with pytest.raises(LabelError, match="labels use it"):
        without_class(schema, 1, 3)
    for value in (1, 2):
        schema = without_class(schema, value, 0)
    with pytest.raises(LabelError, match="only class"):
        without_class(schema, 255, 0)
