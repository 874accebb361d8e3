"""Search and fetch models by command: `python -m models.catalogue search --image A.tif --task roads`, `... fetch NAME`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from errors import TerratuneError, UnplacedRasterError
from imagery.raster import band_names, inspect_raster
from imagery.read import open_raster
from models.catalogue.fetch import accept_licence, fetch_model, licence_accepted, store_of
from models.catalogue.fit import Imagery, Start, starts_for
from models.catalogue.foreign import all_models
from models.catalogue.published import TASKS, PublishedModel, find_published
from models.catalogue.runs_here import held, runs_here
from models.catalogue.search import Filter, matching
from workspace.files import size_in_words
from workspace.settings import Settings, settings_from_environment

app = typer.Typer(add_completion=False, no_args_is_help=True)
DOING = {
    "semantic": "semantic segmentation",
    "detection": "object detection",
    "instances": "instance segmentation",
    "scenes": "scene classification",
}
"""Short words for tasks."""


@app.command()
def search(
    words: Annotated[list[str] | None, typer.Argument(help="All of them occur in the card.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A raster: which models to start from for it, the best first. More than once.")
    ] = None,
    task: Annotated[str, typer.Option(help=f"What it does: {', '.join(TASKS)}.")] = "",
    runs_here_only: Annotated[bool, typer.Option("--runs-here", help="Only what Terratune can use on this machine.")] = False,
    downloaded: Annotated[bool, typer.Option("--downloaded", help="Only what lies on this machine.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Lines for each image.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of a table.")] = False,
) -> None:
    """List models; with --image those to start from for that raster, and why."""
    settings = settings_from_environment()
    task = DOING.get(task, task)
    if task and task not in TASKS:
        _refuse(f"There is no task '{task}'.", f"Choose one of these: {', '.join(TASKS)}.")
    wanted = Filter(words=" ".join(words or []), runs=runs_here_only, downloaded=downloaded, task="" if image else task)
    models = matching(all_models(store_of(settings)), wanted, store_of(settings), settings.weights_mirror)
    if not image:
        _print([_facts(model, settings) for model in models], as_json, _line)
        return
    answers: list[dict[str, Any]] = []
    for path in image:
        try:
            facts = imagery_of(path)
        except TerratuneError as error:
            answers.append({"image": path, "problem": error.fact, "remedy": error.remedy, "models": []})
            continue
        starts = starts_for(models, facts, task)[:limit]
        answers.append({"image": path, **asdict(facts), "models": [_start(start, settings) for start in starts]})
    _print(answers, as_json, _answer)
    if all("problem" in answer for answer in answers):
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="As `search` lists it.")],
    accept: Annotated[bool, typer.Option("--accept-licence", help="Do not ask: the licence was read and is accepted.")] = False,
) -> None:
    """Fetch a model into the data folder, once its licence is accepted; an interrupted download goes on where it stopped."""
    settings = settings_from_environment()
    store = store_of(settings)
    try:
        model = find_published(name, all_models(store))
        if runs_here(model).yes and held(model, store, settings.weights_mirror) is None and not licence_accepted(model, store):
            typer.echo(f"{model.title}\nLicence: {model.licence or 'not stated by its publisher'} {model.licence_url}")
            if not (accept or typer.confirm("Is this licence accepted?")):
                raise typer.Exit(1)
            accept_licence(model, store)
        place = fetch_model(model, settings, _progress if sys.stderr.isatty() else None)
    except TerratuneError as error:
        _refuse(error.fact, error.remedy)
    typer.echo(place)


def imagery_of(path: str) -> Imagery:
    """What decides of a raster; one that does not say where it lies has no ground size.

    Raises:
        ImageryError: it cannot be used as imagery.
    """
    source = str(Path(path).resolve()) if "://" not in path else path
    try:
        info = inspect_raster(source, try_pixels=False)
    except UnplacedRasterError:
        with open_raster(source) as dataset:
            names = tuple(n for n in band_names(dataset) if n != "alpha")
            return Imagery(Path(path).name, names, dataset.dtypes[0], None)
    return Imagery.of(Path(path).name, info)


def _facts(model: PublishedModel, settings: Settings) -> dict[str, Any]:
    here = runs_here(model)
    return {
        **model.model_dump(mode="json", exclude_none=True, exclude={"trusted"}),
        "runs_here": here.state,
        "why": here.why,
        "downloaded": held(model, store_of(settings), settings.weights_mirror) is not None,
    }


def _start(start: Start, settings: Settings) -> dict[str, Any]:
    return {"fit": start.fit.level, "notes": list(start.fit.notes), **_facts(start.model, settings)}


def _print(found: list[dict[str, Any]], as_json: bool, line: Any) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found:
        typer.echo(line(one))
    if not found:
        typer.echo("No model has all that. Ask for less.", err=True)


def _line(facts: dict[str, Any]) -> str:
    size = f"{facts['megabytes']:.0f} MB" if facts.get("megabytes") else "-"
    here = (
        "on this machine"
        if facts["downloaded"]
        else {"yes": "runs here", "import": "bring in its .dlpk", "no": "does not run here"}[facts["runs_here"]]
    )
    return f"{facts['name']:38} {here:18} {size:>9}  {facts['licence'] or 'licence not stated':22.22} {facts['title']}"


def _answer(answer: dict[str, Any]) -> str:
    if "problem" in answer:
        return f"{answer['image']}\n  {answer['problem']} {answer['remedy']}\n"
    size = f"{answer['resolution_m']:.2g} m" if answer["resolution_m"] else "no ground size"
    lines = [f"{answer['image']}  ({', '.join(answer['bands'])}; {answer['dtype']}; {size})"]
    words = {"suits": "suits", "care": "with care", "everything": "all anew", "no": "no"}
    for start in answer["models"]:
        lines.append(f"  {words[start['fit']]:9} {_line(start)}")
        if start is answer["models"][0]:
            lines += [f"            - {note}" for note in start["notes"]]
    return "\n".join([*lines, *([] if answer["models"] else ["  No model that runs here can start this."]), ""])


def _progress(done: int, total: int | None) -> None:
    typer.echo(f"\r{size_in_words(done)}" + (f" of {size_in_words(total)}" if total else ""), nl=False, err=True)


def _refuse(fact: str, remedy: str) -> None:
    typer.echo(f"{fact} {remedy}".strip(), err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
