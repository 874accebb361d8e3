"""Fetch a published model for use here, after its licence was accepted. As a job: `python -m models.catalogue.fetch JOB_FOLDER`."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from errors import ModelNotFoundError
from imagery.sources import allowed_url
from models.catalogue.published import PROMPTABLE, PublishedModel
from models.catalogue.runs_here import SAM_FOLDER, held, runs_here
from models.download import Judge, Progress, download, is_address
from workspace.files import read_json, size_in_words, write_json
from workspace.jobs import JobReporter, run_job, start_job
from workspace.settings import Settings, settings_from_environment

MODULE = "models.catalogue.fetch"
SETTINGS_FILE = "settings.json"
ACCEPTED_FILE = "accepted_licences.json"
SECONDS_BETWEEN_WORDS = 0.5


class FetchSettings(BaseModel):
    """What a fetch job is asked for: the whole card, so that it needs no catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: PublishedModel


def store_of(settings: Settings) -> Path:
    """Where an installation keeps downloaded models."""
    return settings.data_folder / "models"


def fetch_model(model: PublishedModel, settings: Settings, progress: Progress | None = None) -> Path:
    """Fetch `model` into the shared store, when it is not there.

    Returns:
        A bundle's folder, or the checkpoint of a promptable model.

    Raises:
        ModelNotFoundError: Terratune cannot use it; the message says why.
        DownloadError, DiskFullError: see `models.download`.
        ImageryError: an untrusted address that may not be asked (`imagery.sources.allowed_url`).
    """
    here = runs_here(model)
    if not here.yes:
        raise ModelNotFoundError(f"'{model.title}' cannot be fetched for use here.", here.why)
    found = held(model, store_of(settings), settings.weights_mirror)
    if found is not None:
        return found
    mirror = settings.weights_mirror or ("" if is_address(model.url) else str(Path(model.url).parent) if model.trusted else "")
    judge = judge_of(settings) if not model.trusted else None
    if model.loader in PROMPTABLE:
        path = store_of(settings) / SAM_FOLDER / model.file
        download(model.url, path, sha256=model.sha256, mirror=mirror, progress=progress, judge=judge)
        return path
    from models.weights import fetch_encoder  # torch, which a page never loads

    return fetch_encoder(model, store_of(settings), progress, mirror=mirror, judge=judge)


def licence_accepted(model: PublishedModel, store: Path) -> bool:
    """Did somebody of this installation accept the licence that the card says now?"""
    return bool(_accepted(store).get(model.name, {}).get("licence") == model.licence)


def accept_licence(model: PublishedModel, store: Path) -> None:
    """Note that the licence of `model` was shown and accepted."""
    note = {"licence": model.licence, "address": model.licence_url, "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    write_json(store / ACCEPTED_FILE, _accepted(store) | {model.name: note})


def fetch_job(model: PublishedModel, store: Path) -> Path:
    """The folder of the job that fetches `model`; it exists once that was started."""
    return store / ".fetching" / model.name


def start_fetch(model: PublishedModel, store: Path) -> Path:
    """Fetch `model` in a process of its own; what an earlier try left is gone on with. Errors as `start_job`."""
    folder = fetch_job(model, store)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS_FILE, FetchSettings(model=model).model_dump(mode="json"))
    start_job(folder, MODULE)
    return folder


def _work(reporter: JobReporter) -> None:
    model = FetchSettings.model_validate(read_json(reporter.folder / SETTINGS_FILE)).model

    told = 0.0

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        reporter.stop_if_cancelled()
        if time.monotonic() - told >= SECONDS_BETWEEN_WORDS:
            told = time.monotonic()
            words = f"Fetching, {size_in_words(done)}" + (f" of {size_in_words(total)}" if total else "")
            reporter.progress(words, done / total if total else 0.0)

    fetch_model(model, settings_from_environment(), tell)


def judge_of(settings: Settings) -> Judge:
    """Refuses addresses that imagery may not come from either (`imagery.sources.allowed_url`)."""
    return lambda url: allowed_url(url, settings)


def _accepted(store: Path) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = read_json(store / ACCEPTED_FILE)
    except (OSError, json.JSONDecodeError):
        return {}
    return found


if __name__ == "__main__":
    sys.exit(run_job(Path(sys.argv[1]), _work))
