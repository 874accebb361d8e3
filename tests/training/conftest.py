"""What trainings of the tests leave behind stays with the test."""

import pytest


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path / "data"))
