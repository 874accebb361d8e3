"""Step 1: add imagery, read its facts, choose how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from demo.project import add_demo_imagery
from errors import ImageryError
from imagery.library import (
    Raster,
    add_references,
    add_url,
    list_rasters,
    name_bands,
    raster_source,
    remove_raster,
    set_display,
)
from imagery.raster import tidy_name
from imagery.sources import rasters_below
from models.bands import unnamed
from ui import maps
from ui.canvas import view_map
from ui.frame import next_step_link, page_frame, settings, tile_token
from ui.problems import explained, plain, show_problem
from ui.scenes import add_raster, bounds_of, leaflet_bounds
from ui.uploader import upload_zone
from workspace.files import size_in_words
from workspace.project import Project

KEY = "load_imagery"
MAP_HEIGHT_PX = 610
SHOWN_PROBLEMS = 4
STRETCHES: dict[str, tuple[float, float] | None] = {
    "Usual": None,
    "2-98 %": (2.0, 98.0),
    "0.5-99.5 %": (0.5, 99.5),
    "Min-max": (0.0, 100.0),
}
AS_IN_FILE, ONE_BY_ONE = "As the file says", "One by one"
BAND_PRESETS = {
    "Red, green, blue": ("red", "green", "blue"),
    "Red, green, blue, near infrared": ("red", "green", "blue", "nir"),
    "Blue, green, red": ("blue", "green", "red"),
    "Blue, green, red, near infrared": ("blue", "green", "red", "nir"),
    "Near infrared, red, green": ("nir", "red", "green"),
}
BAND_NAMES = ("red", "green", "blue", "nir", "rededge", "swir", "coastal", "yellow", "pan", "alpha")
FACTS_IN_WORDS = ("CRS", "Type", "No data", "Overviews", "File")
STRETCH_HELP = (
    "How brightness is spread, computed once over the whole picture. Usual: 8-bit colour as it is, anything else from its "
    "2nd to its 98th percentile. This only changes what you see, never what the model gets."
)


def main(project: Project) -> None:
    left, right = st.columns([0.4, 0.6], gap="small")
    with left:
        add_panel(project)
        rasters = rasters_of(project)
        chosen = imagery_table(project, rasters) if rasters else []
        if rasters:
            display_panel(project, chosen or rasters, everything=not chosen)
            next_step_link(KEY)
    with right:
        imagery_map(project, rasters, chosen)


def rasters_of(project: Project) -> list[Raster]:
    with explained():
        return list_rasters(project)
    return []


# -- adding ---------------------------------------------------------------------------------------------------------------


def add_panel(project: Project) -> None:
    welcome = st.container()  # always there, so that the tabs below stay as they are when the first picture arrives
    if not rasters_of(project):
        with welcome, st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("No imagery yet. Add your own below, or", width="content")
            if st.button("Use the demo scene", type="primary", icon=":material/landscape:"):
                with explained():
                    with st.spinner("Painting the demo scene (about ten seconds) ..."):
                        add_demo_imagery(project)
                    st.rerun()
    upload, folder, address = st.tabs([":material/upload: Upload", ":material/folder_open: Server folder", ":material/link: Web address"])
    crs = st.session_state.get(f"{KEY}:crs", "")
    with upload:
        added = upload_zone(tile_token(project), key=f"{KEY}:upload:{project.id}", max_bytes=settings().max_upload_bytes, crs=crs)
        if added:
            st.toast("Added.", icon=":material/check_circle:")
    with folder:
        folder_tab(project, crs)
    with address:
        address_tab(project)
    with upload:
        crs_field()
    for fact, remedy in st.session_state.pop(f"{KEY}:problems", []):
        show_problem(fact, remedy)


def crs_field() -> None:
    with st.popover("A file was refused for its coordinate system?", type="tertiary", icon=":material/help:"):
        st.markdown("Most GeoTIFFs say which coordinate system they use. If yours does not, type its EPSG code, then add the file again.")
        st.text_input("EPSG code", key=f"{KEY}:crs", placeholder="For example EPSG:26911")


def folder_tab(project: Project, crs: str) -> None:
    roots = settings().imagery_roots
    if not roots:
        st.info(
            "No server folder is open for imagery. Whoever runs this installation can open one by setting TERRATUNE_IMAGERY_ROOTS.",
            icon=":material/info:",
        )
        return
    known = {raster.source for raster in rasters_of(project)}
    paths = [path for path in found_below(tuple(map(str, roots))) if path not in known]
    wanted = st.text_input("Search", key=f"{KEY}:search", placeholder="Part of a name or folder", label_visibility="collapsed")
    paths = [path for path in paths if wanted.casefold() in path.casefold()]
    if not paths:
        st.caption(
            "Nothing matches that is not in the list already." if wanted else "Every picture in the server folders is in the list already."
        )
        return
    rows = [{"File": Path(path).name, "Folder": folder_of(path, roots)} for path in paths]
    # the list is part of the key: a tick must never move to another file when the list gets shorter
    picked = st.dataframe(
        rows, height=180, on_select="rerun", selection_mode="multi-row", hide_index=True, key=f"{KEY}:files:{hash(tuple(paths))}"
    )
    ticked = [paths[i] for i in picked["selection"]["rows"] if i < len(paths)]
    label = f"Add {plural(len(ticked), 'picture')}" if ticked else "Tick the pictures to add"
    if st.button(label, type="primary", disabled=not ticked, icon=":material/add:"):
        with explained():
            add_files(project, ticked, crs)
            st.rerun()


@st.cache_data(ttl=15, show_spinner="Looking through the server folders ...")
def found_below(roots: tuple[str, ...]) -> list[str]:
    return [str(path.resolve()) for path in rasters_below([Path(root) for root in roots])]


def folder_of(path: str, roots: Sequence[Path]) -> str:
    parent = Path(path).parent
    for root in roots:
        if parent.is_relative_to(root):
            return f"{root.name}/{parent.relative_to(root).as_posix()}".removesuffix("/.")
    return parent.name


def add_files(project: Project, paths: Sequence[str], crs: str) -> None:
    problems: list[ImageryError] = []
    bar = st.progress(0.0, text="Looking at the pictures ...")
    for done, result in enumerate(add_references(project, paths, settings(), crs), 1):
        if isinstance(result, ImageryError):
            problems.append(result)
        bar.progress(done / len(paths), text=f"{done} of {plural(len(paths), 'picture')}")
    keep_problems(problems)


def keep_problems(problems: Sequence[ImageryError]) -> None:
    """Show them after the rerun; a long list is cut, with how many more there are."""
    lines = [(problem.fact, problem.remedy) for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append((f"{len(problems) - SHOWN_PROBLEMS} more could not be added either.", "Add them a few at a time to see why."))
    st.session_state[f"{KEY}:problems"] = lines


def address_tab(project: Project) -> None:
    with st.form(f"{KEY}:address", border=False, clear_on_submit=False):
        url = st.text_input("Address of a cloud-optimised GeoTIFF", placeholder="https://.../picture.tif")
        if st.form_submit_button("Add from this address", icon=":material/add:"):
            with explained():
                with st.spinner("Asking the server ..."):
                    add_url(project, url, settings())
                st.rerun()
    st.caption("The picture stays where it is; only the parts you look at are fetched.")


# -- the list -------------------------------------------------------------------------------------------------------------


def imagery_table(project: Project, rasters: Sequence[Raster]) -> list[Raster]:
    """The list with its facts; returns the rows that are ticked."""
    missing = {raster.id for raster in rasters if raster.kind != "url" and not Path(raster_source(project, raster)).is_file()}
    rows = [facts(raster, missing=raster.id in missing) for raster in rasters]
    state = st.dataframe(
        rows,
        key=f"{KEY}:list:{'-'.join(raster.id for raster in rasters)}"[:200],
        height=min(38 + 35 * len(rows), 213),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Picture": st.column_config.TextColumn(width=150),
            "Pixel (m)": st.column_config.NumberColumn(format="%.3g", help="Size of one pixel on the ground, in metres."),
            "Overviews": st.column_config.TextColumn(help="Smaller copies inside the file; zooming out is quick with them."),
        },
    )
    if not state["selection"]["rows"] and len(rows) > 1:
        st.caption("Tick pictures to zoom to them, change how they look, or remove them.")
    if missing:
        show_problem(
            f"{plural(len(missing), 'picture')} cannot be found any more.",
            "Put the files back where they were, or remove them from the list.",
        )
    return [rasters[i] for i in state["selection"]["rows"] if i < len(rasters)]


def facts(raster: Raster, *, missing: bool = False) -> dict[str, Any]:
    """One row of the table."""
    info = raster.info
    marked = {"none": "none", "nodata": "" if info.nodata is None else f"{info.nodata:g}", "alpha": "alpha band", "mask": "mask"}
    return {
        "Picture": ("⚠ " if missing else "") + raster.name,
        "Size": f"{info.width:,} × {info.height:,}",
        "Pixel (m)": info.resolution_m,
        "Bands": info.count,
        "Type": info.dtype + (" palette" if info.palette else ""),
        "CRS": info.crs if info.crs.startswith("EPSG:") else "custom",
        "No data": marked[info.mask_kind],
        "Overviews": "yes" if info.has_overviews else "no",
        "File": size_in_words(info.bytes) if raster.kind != "url" else "web",
    }


# -- how it is shown ------------------------------------------------------------------------------------------------------


def display_panel(project: Project, targets: Sequence[Raster], *, everything: bool) -> None:
    """Bands and stretch of the ticked pictures, or of all; a change is applied at once."""
    first = targets[0]
    who = (
        f"all {len(targets)} pictures"
        if everything and len(targets) > 1
        else first.name
        if len(targets) == 1
        else plural(len(targets), "picture")
    )
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**Show {plain(who)} as**", width="stretch")
            bands_button(project, targets)
            if not everything:
                remove_button(project, targets)
        if len(targets) == 1:
            st.caption(" · ".join(f"{name}: {value}" for name, value in facts(first).items() if name in FACTS_IN_WORDS))
        if any(unnamed(raster.info.band_names) and raster.info.count >= 3 for raster in targets):
            st.caption(":material/info: Not all files name their bands: models take those in order as red, green, blue. Correct it under 'Bands'.")
        scope = scope_of(targets)
        shared = [name for i, name in enumerate(first.info.band_names) if all(i < raster.info.count for raster in targets)]
        bands = band_choice(first, shared, scope)
        current = next((name for name, value in STRETCHES.items() if value == first.percentiles), "Usual")
        stretch = st.segmented_control(
            "Brightness",
            list(STRETCHES),
            default=current,
            required=True,
            key=f"{KEY}:stretch:{scope}",
            help=STRETCH_HELP,
            disabled=first.info.palette,
        )
        percentiles = STRETCHES[stretch or "Usual"]
        changed = [raster for raster in targets if (raster.bands, raster.percentiles) != (bands, percentiles)]
        asked = (bands, percentiles)
        before = st.session_state.setdefault(f"{KEY}:shown:{scope}", asked)
        if changed and asked != before:
            st.session_state[f"{KEY}:shown:{scope}"] = asked
            with explained():
                apply_display(project, changed, bands, percentiles)
                st.rerun()


def band_choice(raster: Raster, names: Sequence[str], scope: str) -> tuple[int, ...]:
    """One band as grey, or three as red, green, blue; 1-based."""
    usable = [i for i, name in enumerate(names, 1) if name != "alpha"] or [1]
    if raster.info.palette or len(usable) < 2:
        st.caption("Colours come from the file's own table." if raster.info.palette else "One band, shown in grey.")
        return raster.bands
    labels = {i: f"{i} {names[i - 1]}" if not names[i - 1].startswith("band_") else f"{i}" for i in usable}
    modes = ["Colour", "One band"] if len(usable) >= 3 else ["One band"]
    kind, *rest = st.columns([1.3, 1, 1, 1])
    mode = kind.selectbox("Picture", modes, index=0 if len(raster.bands) == 3 else len(modes) - 1, key=f"{KEY}:mode:{scope}")
    colours = ("Red", "Green", "Blue") if mode == "Colour" else ("Grey",)
    defaults = raster.bands if len(raster.bands) == len(colours) else raster.info.colour_bands[: len(colours)]
    picked = []
    for column, colour, default in zip(rest, colours, defaults, strict=False):
        index = usable.index(default) if default in usable else 0
        picked.append(column.selectbox(colour, usable, index=index, format_func=labels.__getitem__, key=f"{KEY}:{colour}:{scope}"))
    return tuple(picked)


def scope_of(targets: Sequence[Raster]) -> str:
    """Part of the keys of fields about these pictures: when their bands get other names, the fields are others."""
    return f"{'-'.join(raster.id for raster in targets)[:120]}:{'-'.join(targets[0].info.band_names)[:120]}"


def bands_button(project: Project, targets: Sequence[Raster]) -> None:
    """Say what the bands are, where the files do not, or are wrong."""
    first = next((raster for raster in targets if unnamed(raster.info.band_names)), targets[0])
    named = [raster for raster in targets if raster.info.count == first.info.count and not raster.info.palette]
    if not named:
        return
    names, scope = first.info.band_names, scope_of(named)
    with st.popover("Bands", icon=":material/layers:", help="Say what the bands are: red, near infrared, ..."):
        if len(named) < len(targets):
            st.caption(f"Only for {plural(len(named), 'picture')} with {len(names)} bands; tick the others to name theirs.")
        st.markdown(f"Models find bands by their names. Now: **{plain(', '.join(names))}**")
        options = [AS_IN_FILE, *(label for label, preset in BAND_PRESETS.items() if len(preset) <= len(names)), ONE_BY_ONE]
        now = next((label for label in options if BAND_PRESETS.get(label) == names), AS_IN_FILE)
        chosen = st.selectbox("The bands are", options, index=options.index(now), key=f"{KEY}:preset:{scope}")
        wanted: tuple[str, ...] | None = None
        if chosen == ONE_BY_ONE:
            wanted = bands_one_by_one(names, scope)
        elif chosen != AS_IN_FILE:
            preset = BAND_PRESETS[chosen]
            rest = [f"band_{i}" if name in preset else name for i, name in enumerate(names, 1)]
            wanted = (*preset, *rest[len(preset) :])
        twice = sorted({name for name in wanted or () if (wanted or ()).count(name) > 1})
        if twice:
            st.caption(f":material/warning: Two bands cannot both be {plain(' and '.join(twice))}.")
        if st.button("Use these names", type="primary", disabled=bool(twice), key=f"{KEY}:name_bands:{scope}"):
            with explained():
                for raster in named:
                    name_bands(project, raster.id, wanted)
                st.rerun()


def bands_one_by_one(names: Sequence[str], scope: str) -> tuple[str, ...]:
    """A name for each band; others than the usual may be typed."""
    found = []
    columns = st.columns(2)
    for i, name in enumerate(names):
        options = list(dict.fromkeys([name, *BAND_NAMES]))
        key = f"{KEY}:band:{i}:{scope}"
        found.append(columns[i % 2].selectbox(f"Band {i + 1}", options, accept_new_options=True, key=key) or name)
    return tuple(tidy_name(name) or f"band_{i}" for i, name in enumerate(found, 1))


def apply_display(project: Project, rasters: Iterable[Raster], bands: tuple[int, ...], percentiles: tuple[float, float] | None) -> None:
    problems = []
    with st.spinner("Looking at the whole picture ..."):
        for raster in rasters:
            try:
                set_display(project, raster.id, raster.bands if raster.info.palette else bands, percentiles)
            except ImageryError as error:
                problems.append(error)
    keep_problems(problems)


def remove_button(project: Project, targets: Sequence[Raster]) -> None:
    with st.popover("Remove", icon=":material/delete:"):
        copies = sum(raster.kind == "copy" for raster in targets)
        st.markdown(
            f"Remove {plural(len(targets), 'picture')} from this project?"
            + (
                f" {plural(copies, 'uploaded copy', 'uploaded copies')} will be deleted."
                if copies
                else " The files themselves stay where they are."
            )
            + " Labels are kept."
        )
        if st.button("Remove", type="primary", key=f"{KEY}:remove"):
            with explained():
                for raster in targets:
                    remove_raster(project, raster.id)
                st.rerun()


# -- the map --------------------------------------------------------------------------------------------------------------


def imagery_map(project: Project, rasters: Sequence[Raster], chosen: Sequence[Raster]) -> None:
    """All pictures with their outlines; ticking some zooms to them."""
    m = maps.new_map(bounds_of(chosen or rasters))
    token = tile_token(project)
    for raster in rasters:
        add_raster(m, token, raster)
    if rasters:
        maps.add_shapes(m, outlines(rasters), "Outlines", weight=1.5, tooltip="name")
    view_map(m, key=f"{KEY}:map:{project.id}", height=MAP_HEIGHT_PX)
    if not rasters:
        st.caption("Your imagery will appear here.")


def outlines(rasters: Sequence[Raster]) -> dict[str, Any]:
    """Where each picture lies, as a FeatureCollection in longitude and latitude."""
    features = []
    for raster in rasters:
        west, south, east, north = leaflet_bounds(raster)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        features.append({"type": "Feature", "properties": {"name": raster.name}, "geometry": {"type": "Polygon", "coordinates": [ring]}})
    return {"type": "FeatureCollection", "features": features}


# -- words ----------------------------------------------------------------------------------------------------------------


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


page_project = page_frame(KEY)
with explained():
    main(page_project)
