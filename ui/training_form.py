"""The left side of the Train page: tiles, base model, how thoroughly; the button that starts a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from demo.replay import TITLE as REPLAY_TITLE
from demo.replay import replay_folder, replay_tiles
from errors import TerratuneError
from labeling.export.job import export_jobs
from models.architecture import is_transformer
from models.card import ModelCard
from models.catalogue import CatalogueEntry, PublishedModel, damaged_models, list_models
from tiles.tile_set import TileSet, list_tile_sets, open_tile_set
from training.run_folder import SETTINGS, read_settings
from training.runs import new_run
from training.settings import NetworkName, TrainingSettings
from training.tasks import Kind, architecture_for, heeds, kind_of, networks_for, require_learnable, title_of
from ui.frame import settings
from ui.problems import plain, show_problem
from ui.settings_fields import refusals
from ui.steps import models_page, step
from ui.tile_check import tile_check
from ui.training_fit import architecture_of, check_fit
from ui.training_options import more_options
from ui.training_view import QUICK, THOROUGHNESS
from workspace.jobs import job_status, start_job
from workspace.project import Project

KEY = "train_model"
MODULE = "training.run"
LIKE = f"{KEY}:like"
"""In the tab: (run whose settings fill the form, how often that was asked for)."""
ADAPTERS = "adapters"
ONLY_PIXELS = (QUICK, "features")
"""Ways to train that only models have that tell a class for each pixel."""
NO_REPLAY = "None"
LEAST_SHARE = 0.05
"""Of reminder tiles, where some are chosen; with none of them they would be chosen for nothing."""
_FIELDS = TrainingSettings.model_fields


def training_form(project: Project) -> None:
    """Draw the form; starts a run when "Train" is pressed."""
    tile_sets = list_tile_sets(project.tiles_folder)
    if not tile_sets:
        _no_tiles(project)
        return
    usual, like = usual_settings(project)
    if like:
        st.caption(f"Filled in as for **{plain(like)}**. Change what you like, then train.")
    tiles = choose_tiles(tile_sets, Path(usual.tiles).name if like else "")
    base = choose_base(project, usual)
    networks = {} if tiles is None else networks_for(tiles)
    kind = what_is_learnt(tiles, base, _network(networks, usual))
    adaptable = base is not None and is_transformer(architecture_of(base))
    chosen = simple_options(project, tile_sets, tiles, usual, kind, adaptable=adaptable, like=bool(like))
    learnt = [] if tiles is None else [c.name for c in tiles.record.classes]
    kept = [c.name for c in base.card.classes] if base is not None and base.card is not None and chosen["keep_old_classes"] else []
    chosen |= more_options(usual, networks, kind, learnt, kept if heeds(kind, "keep_old_classes") else [], quick=chosen["freeze"] == QUICK, key=_key(""))
    if tiles is None or base is None:
        return
    sound, chosen["train_despite_leak"] = tile_check(tiles, usual, key=KEY)
    wanted = _checked(tiles, base, chosen)
    fits = wanted is not None and check_fit(tiles, base, wanted)
    busy = running(project)
    if st.button(
        "Train",
        key=f"{KEY}:start",
        type="primary",
        icon=":material/model_training:",
        disabled=not (fits and sound) or busy,
        width="stretch",
    ):
        assert wanted is not None
        start(project, wanted)
    if busy:
        st.caption("A training is at work; two at once would slow each other down.")


def what_is_learnt(tiles: TileSet | None, base: CatalogueEntry | None, network: NetworkName) -> Kind:
    """Say it in one line; what is usual where tiles and base model do not fit, which is told below."""
    if tiles is None or base is None:
        return "pixels"
    architecture = architecture_of(base)
    try:
        wanted = architecture_for(network, tiles, architecture)
    except TerratuneError:
        return "pixels"
    st.caption(f"Learns: **{title_of(wanted)}**")
    return kind_of(wanted)


def _network(networks: Mapping[NetworkName, str], usual: TrainingSettings) -> NetworkName:
    """The network as it is chosen under "More options", which are drawn further down."""
    chosen: NetworkName = st.session_state.get(_key("network"), usual.network)
    return chosen if chosen in networks else "auto"


def fill_in(run: str) -> None:
    """Fill the form with the settings of a run, whatever stood there."""
    st.session_state[LIKE] = (run, st.session_state.get(LIKE, ("", 0))[1] + 1)


def running(project: Project) -> bool:
    """Is a training of this project at work?"""
    return any(job_status(folder).state == "running" for folder in project.made("runs", "process.json"))


def start(project: Project, wanted: TrainingSettings) -> None:
    """Make a run of these settings, start it and show it."""
    streets = replay_folder(settings().data_folder)
    if wanted.replay_tiles == str(streets) and not streets.exists():
        with st.spinner("Making the reminder tiles (about ten seconds, once) ..."):
            replay_tiles(streets)
    show_started(new_run(project, wanted))


def show_started(folder: Path) -> None:
    """Start the run in this folder and show it."""
    start_job(folder, MODULE)
    st.session_state.pop(LIKE, None)
    st.query_params["run"] = folder.name
    st.query_params.pop("against", None)
    st.rerun()


def usual_settings(project: Project) -> tuple[TrainingSettings, str]:
    """What the form starts from, and the name of the run that it is filled in from: one that was asked for, else "" and what was chosen last."""
    like = st.session_state.get(LIKE, ("", 0))[0]
    folders = project.made("runs", SETTINGS)
    for folder in [f for f in folders if f.name == like] + folders:
        try:
            asked = read_settings(folder)
        except TerratuneError:
            continue
        return asked, (asked.name or folder.name) if folder.name == like else ""
    return TrainingSettings(tiles="-"), ""


def _key(field: str) -> str:
    """Of a widget: anew each time the form is filled in."""
    times = st.session_state.get(LIKE, ("", 0))[1]
    return KEY + (f":{times}" if times else "") + (f":{field}" if field else "")


def _no_tiles(project: Project) -> None:
    at_work = any(job_status(job).state == "running" for job in export_jobs(project)[:1])
    st.info(
        "The tiles are being exported; this takes a moment. Watch it on the Tiles page, then come back."
        if at_work
        else "There are no tiles yet. Label something and export tiles first.",
        icon=":material/info:",
    )
    st.page_link(step("export_tiles").page(), label="Go to Tiles", icon=":material/grid_on:")


def choose_tiles(tile_sets: Sequence[Path], wanted: str) -> TileSet | None:
    """The tile set of that name first, else the newest that can be learnt from."""
    names = [folder.name for folder in tile_sets]
    first = names.index(wanted) if wanted in names else _newest_to_learn_from(tile_sets)
    name = st.selectbox("Tiles", names, index=first, help=_FIELDS["tiles"].description, key=_key("tiles"))
    try:
        tiles = open_tile_set(tile_sets[names.index(name)])
        require_learnable(tiles)
    except TerratuneError as error:
        show_problem(error.fact, error.remedy)
        return None
    shares = class_shares(tiles) if "light" in networks_for(tiles) else class_counts(tiles)
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
            require_learnable(open_tile_set(folder))
            return position
        except TerratuneError:
            continue
    return 0


def class_shares(tiles: TileSet) -> str:
    """'Unpaved road 3.1 %, Paved road 0 %' of the pixels to learn from."""
    pixels = tiles.record.class_pixels("train")
    total = sum(pixels.values())
    return ", ".join(f"{c.name} {100 * pixels[c.value] / total:.1f} % of the pixels" for c in tiles.record.classes) if total else ""


def class_counts(tiles: TileSet) -> str:
    """'House 31, Tree 240 to learn from', in objects; of tiles that have a class as a whole, in tiles."""
    record = tiles.record
    if any(record.class_objects().values()):
        counts = record.class_objects("train")
    else:
        counts = {c.value: sum(tile.pixels.get(c.value, 0) > 0 for tile in tiles.train) for c in record.classes}
    return ", ".join(f"{c.name} {counts[c.value]}" for c in record.classes) + " to learn from" if record.classes else ""


def choose_base(project: Project, usual: TrainingSettings) -> CatalogueEntry | None:
    wanted = st.query_params.get("base") or usual.base
    known = list_models(project.models_folder, settings().data_folder / "models")
    entries = [e for e in known if e.learns and (e.usual or wanted in {e.name, str(e.folder)})]
    names = [e.name for e in entries]
    first = next((i for i, e in enumerate(entries) if wanted in {e.name, str(e.folder)}), 0)
    name = st.selectbox(
        "Base model",
        names,
        index=first,
        format_func=lambda n: entries[names.index(n)].title,
        help=_FIELDS["base"].description,
        key=_key("base"),
    )
    entry = entries[names.index(name)]
    st.caption(entry.summary if entry.published is None or entry.folder else f"{entry.summary} {fetched_when_started(entry.published)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            models_page(), label="All models", icon=":material/shelves:", help="Search more models, and see whether they suit your imagery."
        )
        if entry.card is not None:
            with st.popover("About this model", type="tertiary", icon=":material/info:"):
                about(entry.card)
    if finished := [plain(e.title) for e in known if not e.learns]:
        st.caption(f"Not in the list: {', '.join(finished)}. What came as an ONNX file makes maps, but cannot be trained on.")
    for damaged in damaged_models(project.models_folder):
        show_problem(f"The model folder '{damaged}' cannot be read.", "It is left out of the list; train it again, or copy it here again.")
    return entry


def fetched_when_started(model: PublishedModel) -> str:
    size = f" ({model.megabytes:.0f} MB)" if model.megabytes else ""
    licence = plain(model.licence) if model.licence else "not stated by its publisher"
    terms = f"[{licence}]({model.licence_url})" if model.licence_url else licence
    return f"Training fetches it{size}; starting one accepts its licence: {terms}."


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
            pd.DataFrame(
                [
                    {"Class": s.class_name, "On": s.on, s.measured[0]: s.measured[1], "Found": s.recall, "Right": s.precision}
                    for s in card.scores
                ]
            ),
            hide_index=True,
        )


def simple_options(
    project: Project, tile_sets: Sequence[Path], tiles: TileSet | None, usual: TrainingSettings, kind: Kind, *, adaptable: bool, like: bool
) -> dict[str, Any]:
    """`adaptable`: the backbone is a transformer."""
    ways = [way for way in THOROUGHNESS if (kind == "pixels" or way not in ONLY_PIXELS) and (adaptable or way != ADAPTERS)]
    freeze = st.pills(
        _FIELDS["freeze"].title or "",
        ways,
        default=usual.freeze if usual.freeze in ways else _FIELDS["freeze"].default,
        required=True,
        format_func=THOROUGHNESS.__getitem__,
        help=_FIELDS["freeze"].description,
        key=_key("freeze"),
    )
    keep = usual.keep_old_classes
    if heeds(kind, "keep_old_classes"):
        keep = st.toggle("Keep what the base model knows", value=keep, help=_FIELDS["keep_old_classes"].description, key=_key("keep"))
    epochs, name = st.columns(2)
    with epochs:
        rounds = st.number_input(
            "Epochs",
            1,
            1000,
            usual.epochs,
            help=_FIELDS["epochs"].description,
            disabled=freeze == QUICK,
            key=_key("epochs"),
        )
    with name:
        title = st.text_input(
            "Name of the new model", placeholder=suggested_name(project, tiles, quick=freeze == QUICK), max_chars=60, key=_key("name")
        )
    replay = choose_replay(tile_sets, tiles, usual.replay_tiles if like else None) if heeds(kind, "replay_tiles") else None
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
            key=_key("share"),
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


def choose_replay(tile_sets: Sequence[Path], tiles: TileSet | None, wanted: str | None) -> Path | None:
    """A folder of reminder tiles: another tile set of the project, or the paved streets made by code; None for none."""
    others = {folder.name: folder for folder in tile_sets if tiles is None or folder != tiles.folder}
    streets = replay_folder(settings().data_folder)
    names = [NO_REPLAY, *others, streets.name]
    picked = st.selectbox(
        "Reminder tiles",
        names,
        index=names.index(first) if (first := Path(wanted or "").name) in names else 0,
        format_func=lambda name: REPLAY_TITLE if name == streets.name else name,
        help=_FIELDS["replay_tiles"].description,
        key=_key("replay"),
    )
    return None if picked == NO_REPLAY else others.get(picked, streets)


def suggested_name(project: Project, tiles: TileSet | None, *, quick: bool) -> str:
    """'Unpaved road 2', 'Unpaved road 3 quick': what is drawn, a number, and how."""
    drawn = [] if tiles is None else [c.name for c in tiles.record.classes if tiles.record.class_pixels()[c.value]]
    number = len(list(project.runs_folder.glob("*/settings.json"))) + 1
    ending = f" {number}{' quick' if quick else ''}"
    return (" and ".join(drawn[:2]) or "Model")[: 60 - len(ending)] + ending


def _checked(tiles: TileSet, base: CatalogueEntry, chosen: dict[str, Any]) -> TrainingSettings | None:
    """The settings; where they cannot be, says why."""
    asked = {
        "tiles": str(tiles.folder),
        "base": base.name if base.origin != "trained" else str(base.folder),
        "device": settings().device,
        **chosen,
    }
    try:
        return TrainingSettings.model_validate(asked)
    except ValidationError as error:
        for reason in refusals(TrainingSettings, error):
            st.warning(plain(reason), icon=":material/warning:")
        return None
