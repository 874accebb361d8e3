"""The Export popover of the Label page, without a browser."""

from __future__ import annotations

import json

from labeling.label_set import current_labels
from tests.ui.test_label_import import geojson, line, scene, with_file
from ui.label_export import exported
from workspace.project import Project

__all__ = ["scene"]


def test_export_takes_the_classes_chosen(scene: Project):
    content = geojson(line(0, surface="paved"), line(1, surface="unpaved"), line(2, surface="unpaved"))
    page = with_file(scene, "roads.geojson", content)
    page.button(key="import").click().run()
    assert page.multiselect(key="export_classes").options == ["Unpaved road", "Paved road"]
    page.multiselect(key="export_classes").set_value([2]).run()
    assert not page.exception
    labels = current_labels(scene.journal_file)
    assert json.loads(exported(labels[labels["class_value"] == 2], scene.classes(), "GeoJSON"))["features"][0]["properties"]["Classvalue"] == 2
