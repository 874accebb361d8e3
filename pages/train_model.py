"""Step 4: choose tiles and a base model, train, watch, see what was learnt and what was forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from demo.replay import TITLE as REPLAY_TITLE
from demo.replay import replay_folder, replay_tiles
from errors import TerratuneError
from labeling.export_job import export_jobs
from models.card import ModelCard
from models.catalogue import CatalogueEntry, damaged_models, list_models
from tiles.reader import require_pixels
from tiles.tile_set import TileSet, list_tile_sets, open_tile_set
from training.run_folder import read_settings
from training.settings import TrainingSettings
from ui.frame import page_frame, settings
from ui.job_panel import job_panel
from ui.problems import explained, show_problem
from ui.steps import step
from ui.tile_check import tile_check
from ui.training_fit import check_fit
from ui.training_view import QUICK, THOROUGHNESS, curves, training_result
from workspace.files import unused_folder, write_json
from workspace.jobs import job_status, start_job
from workspace.project import Project

KEY = "train_model"
MODULE = "training.run"
NO_REPLAY = "None"
LEAST_SHARE = 0.05
"""Of reminder tiles, where some are chosen; with none of them they would be chosen for nothing."""
_FIELDS = TrainingSettings.model_fields


def main() -> None:
    project = page_frame(KEY)
    left, right = st.columns([0.4, 0.6], gap="medium")
    with left, explained():
        form(project)
    with right, explained():
        run_view(project)


# -- what you choose ------------------------------------------------------------------------------------------------------


def form(project: Project) -> None:
    tile_sets = list_tile_sets(project.tiles_folder)
    if not tile_sets:
        at_work = any(job_status(job).state == "running" for job in export_jobs(project)[:1])
        st.info(
            "The tiles are being exported; this takes a moment. Watch it on the Tiles page, then come back."
            if at_work
            else "There are no tiles yet. Label something and export tiles first.",
            icon=":material/info:",
        )
        st.page_link(step("export_tiles").page(), label="Go to Tiles", icon=":material/grid_on:")
        return
    usual = usual_settings(project)
    tiles = choose_tiles(tile_sets, usual)
    base = choose_base(project, usual)
    chosen = simple_options(project, tile_sets, tiles, usual)
    chosen |= advanced_options(usual, quick=chosen["freeze"] == QUICK)
    if tiles is None or base is None:
        return
    fits = check_fit(tiles, base, chosen)
    sound, chosen["train_despite_leak"] = tile_check(tiles, usual, key=KEY)
    busy = running(project)
    if st.button(
        "Train",
        key=f"{KEY}:start",
        type="primary",
        icon=":material/model_training:",
        disabled=not (fits and sound) or busy is not None,
        width="stretch",
    ):
        start(project, tiles, base, chosen)
    if busy is not None:
        st.caption("A training is at work; two at once would slow each other down.")


def usual_settings(project: Project) -> TrainingSettings:
    """What was chosen last in this project, else the defaults."""
    for folder in project.made("runs", "settings.json"):
        try:
            return read_settings(folder)
        except TerratuneError:
            continue
    return TrainingSettings(tiles="-")


def choose_tiles(tile_sets: Sequence[Path], usual: TrainingSettings) -> TileSet | None:
    names = [folder.name for folder in tile_sets]
    first = _newest_to_learn_from(tile_sets)
    name = st.selectbox("Tiles", names, index=first, help=_FIELDS["tiles"].description, key=f"{KEY}:tiles")
    try:
        tiles = open_tile_set(tile_sets[names.index(name)])
        require_pixels(tiles)
    except TerratuneError as error:
        show_problem(error.fact, error.remedy)
        return None
    shares = class_shares(tiles)
    st.caption(
        f"{len(tiles.train)} tiles to learn from, {len(tiles.validation)} kept for the test"
        + (", divided as they came" if tiles.record.made_division else "")
        + (f"  \n{shares}" if shares else "")
    )
    return tiles


def _newest_to_learn_from(tile_sets: Sequence[Path]) -> int:
    """Position of the newest that training can use; 0 where it can use none."""
    for position, folder in enumerate(tile_sets):
        try:
            require_pixels(open_tile_set(folder))
            return position
        except TerratuneError:
            continue
    return 0


def class_shares(tiles: TileSet) -> str:
    """'Unpaved road 3.1 %, Paved road 0 %' of the pixels to learn from."""
    pixels = tiles.record.class_pixels("train")
    total = sum(pixels.values())
    return ", ".join(f"{c.name} {100 * pixels[c.value] / total:.1f} % of the pixels" for c in tiles.record.classes) if total else ""


def choose_base(project: Project, usual: TrainingSettings) -> CatalogueEntry | None:
    entries = list_models(project.models_folder, settings().data_folder / "models")
    names = [e.name for e in entries]
    first = next((i for i, e in enumerate(entries) if usual.base in {e.name, str(e.folder)}), 0)
    name = st.selectbox(
        "Base model",
        names,
        index=first,
        format_func=lambda n: entries[names.index(n)].title,
        help=_FIELDS["base"].description,
        key=f"{KEY}:base",
    )
    entry = entries[names.index(name)]
    st.caption(entry.summary if entry.folder else f"{entry.summary} Fetched when training starts ({entry.megabytes:.0f} MB).")
    if entry.card is not None:
        with st.popover("About this model", type="tertiary", icon=":material/info:"):
            about(entry.card)
    for damaged in damaged_models(project.models_folder):
        show_problem(f"The model folder '{damaged}' cannot be read.", "It is left out of the list; train it again, or copy it here again.")
    return entry


def about(card: ModelCard) -> None:
    """The card in plain words."""
    size = f"{card.input.resolution_m:.2g} m per pixel" if card.input.resolution_m else "no fixed ground size"
    knows = ", ".join(c.name for c in card.classes) or "no class yet"
    st.markdown(f"**{card.title}**  \n{card.summary}")
    st.markdown(
        f"- Knows: {knows}\n- Reads: {', '.join(card.input.band_names)} ({card.input.dtype}), {size}\n"
        f"- Size: {card.parameters / 1e6:.1f} million numbers ({card.architecture.encoder})\n- Licence: {card.licence or 'not stated'}\n"
        f"- Learnt from: {card.training_data or 'not stated'}"
    )
    if card.scores:
        st.dataframe(
            pd.DataFrame([{"Class": s.class_name, "On": s.on, "IoU": s.iou, "Found": s.recall, "Right": s.precision} for s in card.scores]),
            hide_index=True,
        )


def simple_options(project: Project, tile_sets: Sequence[Path], tiles: TileSet | None, usual: TrainingSettings) -> dict[str, Any]:
    freeze = st.segmented_control(
        _FIELDS["freeze"].title or "",
        list(THOROUGHNESS),
        default=usual.freeze,
        required=True,
        format_func=THOROUGHNESS.__getitem__,
        help=_FIELDS["freeze"].description,
        key=f"{KEY}:freeze",
    )
    keep = st.toggle(
        "Keep what the base model knows", value=usual.keep_old_classes, help=_FIELDS["keep_old_classes"].description, key=f"{KEY}:keep"
    )
    epochs, name = st.columns(2)
    with epochs:
        rounds = st.number_input(
            "Epochs",
            1,
            1000,
            usual.epochs,
            help=_FIELDS["epochs"].description,
            disabled=freeze == QUICK,
            key=f"{KEY}:epochs",
        )
    with name:
        title = st.text_input(
            "Name of the new model", placeholder=suggested_name(project, tiles, quick=freeze == QUICK), max_chars=60, key=f"{KEY}:name"
        )
    replay = choose_replay(tile_sets, tiles)
    share = max(usual.replay_share, LEAST_SHARE)
    if replay is not None and freeze != QUICK:  # fitted at once, all tiles weigh alike
        percent = st.slider(
            "Share of reminder tiles",
            round(100 * LEAST_SHARE),
            90,
            round(100 * share),
            5,
            format="%d %%",
            help=_FIELDS["replay_share"].description,
            key=f"{KEY}:share",
        )
        share = percent / 100
    return {
        "freeze": freeze,
        "keep_old_classes": keep,
        "epochs": int(rounds),
        "name": title.strip() or suggested_name(project, tiles, quick=freeze == QUICK),
        "replay_tiles": str(replay) if replay else None,
        "replay_share": share,
    }


def choose_replay(tile_sets: Sequence[Path], tiles: TileSet | None) -> Path | None:
    """A folder of reminder tiles: another tile set of the project, or the paved streets made by code; None for none."""
    others = {folder.name: folder for folder in tile_sets if tiles is None or folder != tiles.folder}
    streets = replay_folder(settings().data_folder)
    names = [NO_REPLAY, *others, streets.name]
    picked = st.selectbox(
        "Reminder tiles",
        names,
        format_func=lambda name: REPLAY_TITLE if name == streets.name else name,
        help=_FIELDS["replay_tiles"].description,
        key=f"{KEY}:replay",
    )
    return None if picked == NO_REPLAY else others.get(picked, streets)


def suggested_name(project: Project, tiles: TileSet | None, *, quick: bool) -> str:
    """'Unpaved road 2', 'Unpaved road 3 quick': what is drawn, a number, and how."""
    drawn = [] if tiles is None else [c.name for c in tiles.record.classes if tiles.record.class_pixels()[c.value]]
    number = len(list(project.runs_folder.glob("*/settings.json"))) + 1
    ending = f" {number}{' quick' if quick else ''}"
    return (" and ".join(drawn[:2]) or "Model")[: 60 - len(ending)] + ending


def advanced_options(usual: TrainingSettings, *, quick: bool) -> dict[str, Any]:
    with st.expander("More options", icon=":material/tune:", key=f"{KEY}:advanced"):
        if quick:
            st.caption("What is grey has no part in a quick training.")
        left, right = st.columns(2)
        with left:
            rate = st.number_input(
                "Learning rate", 1e-6, 1.0, usual.learning_rate, format="%.4f", help=_FIELDS["learning_rate"].description, disabled=quick
            )
            batch = st.number_input("Tiles per step", 1, 64, usual.batch_size, help=_FIELDS["batch_size"].description, disabled=quick)
            augment = st.toggle("Vary the tiles", usual.augment != "none", help=_FIELDS["augment"].description, disabled=quick)
        with right:
            patience = st.number_input(
                "Stop early after", 0, 1000, usual.stop_early_after, help=_FIELDS["stop_early_after"].description, disabled=quick
            )
            seed = st.number_input("Seed", 0, 2**31 - 1, usual.seed, help=_FIELDS["seed"].description)
            balance = st.toggle("Balance classes", usual.balance, help=_FIELDS["balance"].description)
    return {
        "learning_rate": float(rate),
        "batch_size": int(batch),
        "augment": augment,
        "stop_early_after": int(patience),
        "seed": int(seed),
        "balance": balance,
    }


def start(project: Project, tiles: TileSet, base: CatalogueEntry, chosen: dict[str, Any]) -> None:
    streets = replay_folder(settings().data_folder)
    if chosen["replay_tiles"] == str(streets) and not streets.exists():
        with st.spinner("Making the reminder tiles (about ten seconds, once) ..."):
            replay_tiles(streets)
    folder = unused_folder(project.runs_folder, chosen["name"])
    model = unused_folder(project.models_folder, chosen["name"])
    wanted = TrainingSettings.model_validate(
        {
            "tiles": str(tiles.folder),
            "base": base.name if base.origin != "trained" else str(base.folder),
            "device": settings().device,
            "publish_to": str(model),
            **chosen,
        }
    )
    write_json(folder / "settings.json", wanted.model_dump())
    start_job(folder, MODULE)
    st.query_params["run"] = folder.name
    st.rerun()


# -- what happens ---------------------------------------------------------------------------------------------------------


def run_view(project: Project) -> None:
    folders = project.made("runs", "settings.json")
    if not folders:
        if list_tile_sets(project.tiles_folder):
            waiting_view(quick=st.session_state.get(f"{KEY}:freeze") == QUICK)
        return
    names = [folder.name for folder in folders]
    wanted = st.query_params.get("run", names[0])
    if wanted not in names:
        wanted = names[0]
    if len(names) > 1:
        titles = [run_title(project.runs_folder / name) for name in names]
        # the titles are part of the key: a box shows the titles it was made with
        picked = st.selectbox(
            "Run",
            names,
            index=names.index(wanted),
            format_func=lambda n: titles[names.index(n)],
            key=f"{KEY}:run:{wanted}:{hash(tuple(titles))}",
        )
        if picked != wanted:
            st.query_params["run"] = picked
            st.rerun()
    folder = project.runs_folder / wanted
    status = job_panel(folder, MODULE, key=f"{KEY}:{wanted}", details=lambda: curves(folder))
    if status.state != "running":
        training_result(folder, done=status.state == "done")


def waiting_view(*, quick: bool) -> None:
    what = "scores" if quick else "curves"
    with st.container(border=True, height=300, vertical_alignment="center", horizontal_alignment="center"):
        st.markdown(f"##### :material/show_chart: The {what} appear here", width="content")
        should = "" if quick else "Loss should fall; the score on the held-out tiles should rise. "
        st.caption(f"{should}You may close the page: training goes on.", width="content")


def run_title(folder: Path) -> str:
    try:
        name = read_settings(folder).name or folder.name
    except TerratuneError:
        name = folder.name
    state = job_status(folder).state
    return name if state == "done" else f"{name} ({state})"


def running(project: Project) -> str | None:
    """Name of a run that is at work; None when there is none."""
    return next((f.name for f in project.made("runs", "process.json") if job_status(f).state == "running"), None)


main()
