"""The command `python -m training.run`, for a run folder (as the app starts it) or with options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError

from errors import TerratuneError, TrainingError
from training.run_folder import SETTINGS, read_settings, reason, write_settings
from training.settings import TrainingSettings
from workspace.files import read_json
from workspace.jobs import JobReporter, job_status, process_alive, run_job

_FIELDS = TrainingSettings.model_fields


def _option(field: str, *names: str) -> Any:
    words = get_args(_FIELDS[field].annotation)
    choice = f" ({', '.join(words)})" if get_origin(_FIELDS[field].annotation) is Literal else ""
    return typer.Option(*names, help=f"{_FIELDS[field].description}{choice}")


def _default(field: str) -> Any:
    return _FIELDS[field].default


def main(
    run_folder: Annotated[
        Path | None, typer.Argument(help="A run folder with settings.json: runs it, or goes on after an interruption.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make; the model is in its folder 'model'.")] = None,
    tiles: Annotated[Path | None, _option("tiles")] = None,
    base: Annotated[str, _option("base")] = _default("base"),
    freeze: Annotated[str, _option("freeze")] = _default("freeze"),
    network: Annotated[str, _option("network")] = _default("network"),
    epochs: Annotated[int, _option("epochs")] = _default("epochs"),
    seed: Annotated[int, _option("seed")] = _default("seed"),
    name: Annotated[str, _option("name")] = _default("name"),
    keep_old_classes: Annotated[bool, _option("keep_old_classes")] = _default("keep_old_classes"),
    replay_tiles: Annotated[Path | None, _option("replay_tiles")] = None,
    replay_share: Annotated[float, _option("replay_share")] = _default("replay_share"),
    mixup: Annotated[bool, _option("mixup")] = _default("mixup"),
    learning_rate: Annotated[str, _option("learning_rate")] = str(_default("learning_rate")),
    schedule: Annotated[str, _option("schedule")] = _default("schedule"),
    batch_size: Annotated[str, _option("batch_size")] = str(_default("batch_size")),
    loss: Annotated[str, _option("loss")] = _default("loss"),
    balance: Annotated[bool, _option("balance")] = _default("balance"),
    ignore_classes: Annotated[list[str] | None, _option("ignore_classes", "--ignore-class")] = None,
    chip_size: Annotated[int | None, _option("chip_size")] = None,
    augment: Annotated[str, _option("augment")] = _default("augment"),
    augment_turn: Annotated[bool, _option("augment_turn")] = _default("augment_turn"),
    augment_zoom: Annotated[float, _option("augment_zoom")] = _default("augment_zoom"),
    augment_brightness: Annotated[float, _option("augment_brightness")] = _default("augment_brightness"),
    augment_contrast: Annotated[float, _option("augment_contrast")] = _default("augment_contrast"),
    augment_saturation: Annotated[float, _option("augment_saturation")] = _default("augment_saturation"),
    monitor: Annotated[str, _option("monitor")] = _default("monitor"),
    monitor_class: Annotated[str, _option("monitor_class")] = _default("monitor_class"),
    stop_early_after: Annotated[int, _option("stop_early_after")] = _default("stop_early_after"),
    train_despite_leak: Annotated[bool, _option("train_despite_leak")] = _default("train_despite_leak"),
    device: Annotated[str, _option("device")] = _default("device"),
    devices: Annotated[str, _option("devices")] = str(_default("devices")),
) -> None:
    """Fine-tune a base model on a tile set. Exit status: 0 done, 1 failed, 3 cancelled."""
    chosen = {k: v for k, v in locals().items() if k in _FIELDS and v is not None}
    if (run_folder is None) == (out is None):
        raise typer.BadParameter("Give either a run folder, or --tiles and --out.")
    try:
        folder = run_folder if run_folder is not None else _new_run(_required(out), chosen)
        code = run(folder)
    except TerratuneError as error:
        typer.echo(f"{error.fact}\n{error.remedy}".strip(), err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(code)


def run(folder: Path) -> int:
    """Run (or go on with) the run in `folder`; the exit status of `run_job`. Started by torchrun, the first process is the job, the others help."""
    if int(os.environ.get("RANK", "0")) > 0:
        return _help(folder)
    if process_alive(folder) and not _is_me(folder):
        raise TrainingError(f"The run {folder.name} is at work in another process.", "Wait for it, or cancel it first.")

    if job_status(folder).state == "cancelled":
        (folder / "cancel").unlink(missing_ok=True)  # started anew, by hand

    def work(reporter: JobReporter) -> None:
        settings = read_settings(folder)
        reporter.progress("Starting", 0.0)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `start_job` does, for runs by hand
        from training.fit import fit  # torch and timm take seconds: the status is on disk before

        fit(folder, settings, reporter, typer.echo)

    code = run_job(folder, work)
    status = job_status(folder)
    if status.error:
        typer.echo(f"{status.error}\n{status.remedy}".strip(), err=True)
    return code


class _Unheard(JobReporter):
    """Of a process that helps: the one that leads tells how far the run is, and ends it."""

    def progress(self, stage: str, fraction: float, seconds_left: float | None = None) -> None: ...

    def event(self, **facts: Any) -> None: ...

    def stop_if_cancelled(self) -> None: ...


def _help(folder: Path) -> int:
    """Take part in a run that another process leads."""
    settings = read_settings(folder)
    if settings.freeze != "all_but_last_layer":  # there is nothing to be shared
        from training.fit import fit

        fit(folder, settings, _Unheard(folder), lambda _: None)
    return 0


def _new_run(out: Path, chosen: dict[str, Any]) -> Path:
    """Write settings.json into `out`, so that the run repeats from anywhere."""
    if "tiles" not in chosen:
        raise typer.BadParameter("--tiles is needed.")
    for field in ("tiles", "replay_tiles"):
        if field in chosen:
            chosen[field] = str(chosen[field].resolve())
    if Path(chosen["base"]).is_dir():
        chosen["base"] = str(Path(chosen["base"]).resolve())
    try:
        settings = TrainingSettings.model_validate(chosen)
    except ValidationError as error:
        raise typer.BadParameter(reason(error)) from error
    if (out / SETTINGS).exists() and read_settings(out) != settings:
        raise TrainingError(f"The folder {out} holds a run with other settings.", "Give another --out, or delete that folder.")
    write_settings(out, settings)
    return out


def _is_me(folder: Path) -> bool:
    return bool(read_json(folder / "process.json").get("pid") == os.getpid())


def _required(path: Path | None) -> Path:
    if path is None:
        raise ValueError("checked before")
    return path


if __name__ == "__main__":
    typer.run(main)
