"""How many processes share a comparison's work, on the Compare page."""

from __future__ import annotations

import pytest

from inference.settings import PredictionSettings, read_settings
from tests.pages.test_preview_results import add_models, add_scene, open_page, project
from ui import frame

__all__ = ["project"]
KEY = "preview_results:workers"


def test_the_processes_asked_for_are_noted(project, tmp_path, monkeypatch):
    add_scene(project, tmp_path)
    add_models(project)
    page = open_page(project)
    field, box = PredictionSettings.model_fields["workers"], page.number_input(key=KEY)
    assert (box.label, box.help, box.value) == (field.title, field.description, 0)
    box.set_value(2).run()
    monkeypatch.setattr("ui.comparison.form.start_job", lambda job, module: None)
    page.button(key="preview_results:predict").click().run()
    [job] = project.predictions_folder.iterdir()
    assert read_settings(job).workers == 2


@pytest.mark.parametrize("settled", ["a cluster", "no dask"])
def test_where_the_installation_has_settled_it_nothing_is_asked(project, tmp_path, monkeypatch, settled):
    if settled == "a cluster":
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://10.0.0.1:8786")
        frame.settings.cache_clear()
    else:
        monkeypatch.setattr("inference.cluster.open.find_spec", lambda name: None)
    add_scene(project, tmp_path)
    add_models(project)
    assert KEY not in {box.key for box in open_page(project).number_input}
