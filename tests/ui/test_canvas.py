from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest

from ui.canvas import ASSETS, assets_version


def view_page() -> None:
    from ui.canvas import view_map
    from ui.maps import new_map

    view_map(new_map((0.0, 0.0, 1.0, 1.0)), key="map", height=300)


def label_page() -> None:
    import streamlit as st

    from ui.canvas import label_map
    from ui.maps import new_map
    from workspace.classes import starter_schema

    revision = label_map(new_map((0.0, 0.0, 1.0, 1.0)), key="map", token="t", journal_id="j", schema=starter_schema())
    st.write(f"revision {revision}")


def test_a_map_is_one_component():
    page = AppTest.from_function(view_page, default_timeout=30).run()
    assert not page.exception
    assert len(page.main.children) == 1


def test_a_label_map_starts_with_nothing_told():
    page = AppTest.from_function(label_page, default_timeout=30).run()
    assert not page.exception
    assert page.markdown[0].value == "revision 0"


def test_everything_the_scripts_load_is_in_the_assets():
    loaded = set()
    for script in ASSETS.glob("*.js"):
        loaded |= set(re.findall(r"'((?:vendor/)?[\w./-]+\.(?:js|css))'", script.read_text(encoding="utf-8")))
    assert {"vendor/leaflet/leaflet.js", "vendor/geoman/leaflet-geoman.min.js", "canvas.css"} <= loaded
    assert [path for path in loaded if not (ASSETS / path).exists()] == []


def test_nothing_is_loaded_from_elsewhere():
    for path in [*ASSETS.glob("*.js"), *ASSETS.rglob("*.css")]:
        assert not re.findall(r"(?:src|href|url)\s*[=(:]\s*['\"]?https?://", path.read_text(encoding="utf-8")), path.name


def test_each_vendored_library_has_its_licence():
    for folder in (ASSETS / "vendor").iterdir():
        assert "Copyright" in (folder / "LICENSE").read_text(encoding="utf-8")
        assert folder.name.split("-")[0] in (ASSETS / "README.md").read_text(encoding="utf-8").lower()


def test_the_version_changes_with_the_scripts():
    assert re.fullmatch(r"[0-9a-f]{12}", assets_version())
