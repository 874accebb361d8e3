"""Every kind of field as a widget, and what it gives back."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from streamlit.testing.v1 import AppTest

from labeling.export.settings import ExportSettings
from tiles.formats import FORMATS
from ui.settings_fields import refusals


def all_kinds() -> None:
    from typing import Literal

    import streamlit as st
    from pydantic import BaseModel, Field

    from ui.settings_fields import settings_field

    class Kinds(BaseModel):
        whole: int = Field(default=3, ge=1, le=9, title="A whole number", description="Help for it.")
        share: float = Field(default=0.25, ge=0, le=1)
        free: float | None = Field(default=None, gt=0, le=50, json_schema_extra={"empty": "as the imagery"})
        given: int | None = Field(default=64, ge=32, multiple_of=32, json_schema_extra={"empty": "square"})
        yes: bool = Field(default=True)
        word: str = Field(default="a")
        no_word: str | None = Field(default=None)
        few: Literal["x", "y"] = Field(default="y", json_schema_extra={"options": {"x": "The x", "y": "The y"}})
        many: Literal["a", "b", "c", "d"] = Field(default="c")
        second: str | None = Field(default=None, json_schema_extra={"choose": "raster", "empty": "None"})
        classes: tuple[int, ...] = Field(default=(2, 7), json_schema_extra={"choose": "classes", "empty": "All"})

    offers = {"raster": {"/a.tif": "a", "/b.tif": "b", "/c.tif": "c"}, "class": {1: "Paved", 2: "Unpaved"}}
    start = Kinds().model_dump()
    st.session_state["chosen"] = {name: settings_field(Kinds, name, start[name], offers=offers) for name in Kinds.model_fields}


@pytest.fixture
def page() -> AppTest:
    run = AppTest.from_function(all_kinds).run()
    assert not run.exception, run.exception
    return run


def chosen(page: AppTest) -> dict:
    assert not page.exception, page.exception
    return page.session_state["chosen"]


def test_what_nobody_touches_stays_as_it_is(page):
    assert chosen(page) == {
        "whole": 3,
        "share": 0.25,
        "free": None,
        "given": 64,
        "yes": True,
        "word": "a",
        "no_word": None,
        "few": "y",
        "many": "c",
        "second": None,
        "classes": (2,),  # class 7 is not there any more
    }


def test_words_and_bounds_are_those_of_the_field(page):
    number = page.number_input(key="whole")
    assert (number.label, number.help, number.min, number.max) == ("A whole number", "Help for it.", 1, 9)
    assert page.slider(key="share").label == "Share"
    assert page.number_input(key="free").placeholder == "as the imagery"
    assert page.radio(key="few").options == ["The x", "The y"]
    assert page.selectbox(key="second").options == ["None", "a", "b", "c"]


def test_what_is_chosen_comes_back_in_the_type_of_the_field(page):
    page.number_input(key="free").set_value(0.5)
    page.radio(key="few").set_value("x")
    page.selectbox(key="second").set_value("/b.tif")
    page.multiselect(key="classes").set_value([])
    page.text_input(key="no_word").set_value(" EPSG:4326 ").run()
    got = chosen(page)
    assert (got["free"], got["few"], got["second"], got["classes"], got["no_word"]) == (0.5, "x", "/b.tif", (), "EPSG:4326")
    page.selectbox(key="second").set_value("").run()
    assert chosen(page)["second"] is None


def test_an_optional_number_can_be_emptied_again(page):
    box = page.number_input(key="given")
    assert (box.value, box.step, box.placeholder, box.proto.HasField("default")) == (64, 32, "square", False)
    box.set_value(None).run()
    assert chosen(page)["given"] is None
    page.run()
    assert chosen(page)["given"] is None, "the number that it began with does not come back"


def every_export_field(metadata_format: str) -> None:
    import streamlit as st

    from labeling.export.settings import ExportSettings, fields_for
    from ui.settings_fields import settings_field

    start = ExportSettings().model_dump() | {"metadata_format": metadata_format}
    offers = {"raster": {"/a.tif": "a"}, "class": {1: "Paved"}}
    got = {name: settings_field(ExportSettings, name, start[name], offers=offers) for name in fields_for(metadata_format)}
    st.session_state["same"] = got == {name: start[name] for name in got}


@pytest.mark.parametrize("metadata_format", list(FORMATS))
def test_the_form_can_draw_every_setting_of_an_export(metadata_format):
    page = AppTest.from_function(every_export_field, args=(metadata_format,)).run()
    assert not page.exception, page.exception
    assert page.session_state["same"], "the defaults come back as they are"


def test_refusals_are_sentences():
    with pytest.raises(ValidationError) as caught:
        ExportSettings(tile_size=64, stride=128)
    assert refusals(ExportSettings, caught.value)[0].startswith("The step (128) is larger than the tile size (64)")
    with pytest.raises(ValidationError) as caught:
        ExportSettings(tile_size=33)
    assert refusals(ExportSettings, caught.value) == ["Tile size (pixels): Input should be a multiple of 32"]
