import os
import shutil
import subprocess
import sys

import pytest

from errors import BundleError
from models.card import read_card
from models.packages.job import EXPORTS_FOLDER, export_file, is_current, outcome, package_jobs, read_job, start_export, start_import, work
from workspace.jobs import JobReporter, run_job


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's models folder; jobs are noted, not started."""
    monkeypatch.setattr("models.packages.job.start_job", lambda folder, module: None)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_an_upload_becomes_a_model_of_the_project(folder, zip_file, tmp_path):
    upload = tmp_path / "My roads.zip"
    shutil.copy(zip_file, upload)
    job = start_import(folder, upload.name, upload=upload)
    assert (package_jobs(folder), read_job(job).name, upload.exists()) == ([job], "My roads.zip", False)
    assert run_job(job, work) == 0
    assert outcome(job)["name"] == "my-roads"
    card = read_card(folder / "my-roads")
    assert (card.title, card.provenance.package) == ("Roads", "My roads.zip")


def test_a_file_of_the_server_stays(folder, dlpk_file):
    job = start_import(folder, dlpk_file.name, source=dlpk_file)
    assert run_job(job, work) == 0
    assert dlpk_file.exists()
    assert read_card(folder / outcome(job)["name"]).classes


def test_what_fails_says_why_and_leaves_nothing(folder, tmp_path):
    bad = tmp_path / "x.dlpk"
    bad.write_bytes(b"hello")
    job = start_import(folder, bad.name, upload=bad)
    assert run_job(job, work) == 1
    assert "x.dlpk is not a ZIP archive" in JobReporter(job).folder.joinpath("status.json").read_text()
    assert [p.name for p in folder.iterdir()] == [job.parent.name]
    with pytest.raises(BundleError, match="no file that holds a model"):
        start_import(folder, "x.pth", source=tmp_path / "x.pth")


def test_an_export_is_current_until_the_model_changes(folder, small):
    bundle = folder / "roads"
    shutil.copytree(small, bundle)
    assert not is_current(export_file(folder, bundle, "bundle"), bundle)
    job = start_export(folder, bundle, read_card(bundle), "bundle")
    assert run_job(job, work) == 0
    file = folder / EXPORTS_FOLDER / "roads.zip"
    assert file == export_file(folder, bundle, "bundle")
    assert is_current(file, bundle)
    later = file.stat().st_mtime + 5
    os.utime(bundle / "card.json", (later, later))
    assert not is_current(file, bundle)


def test_a_page_that_shows_jobs_needs_no_torch():
    words = "import sys, models.packages.job, models.packages.manage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words]).returncode == 0
