"""Where an imported file lies: its coordinate system, the pictures of its boxes, and what falls outside the imagery."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import streamlit as st

from errors import LabelFileError, TerratuneError
from imagery.grid import Grid
from imagery.library import Raster
from imagery.raster import parse_crs
from labeling.exchange import Guess, Placed, VectorFile, guessed_crs, outside_imagery, picture_grids, placed, stated_crs
from labeling.exchange.place import parsed_crs
from tiles.tile_set import list_tile_sets, open_tile_set
from ui.import_cache import kept
from ui.problems import plain
from ui.scenes import outline
from ui.wording import many
from workspace.project import Project

OTHER_CRS = "Another one ..."


@dataclass(frozen=True)
class Where:
    """Where a person says a file lies; nothing asked where the file says it itself."""

    crs: str | None = None
    swapped: bool = False
    override: bool = False


def asked_place(file: VectorFile, scenes: Mapping[str, Grid]) -> Where:
    """The coordinate system: what the file states, else a question with a guess."""
    if all(layer.pixels for layer in file.layers):
        return Where()
    stated = stated_crs(file)
    guess = kept("guess", (id(file), tuple(scenes)), lambda: guessed_crs(file, scenes))
    own = next((layer.crs or layer.assumed for layer in file.layers if not layer.pixels), None)
    fits = guess is None or (guess.crs == own and not guess.swapped) or not _beside(guess)
    usual = own if not stated and own and guess is not None and fits else None
    st.caption(f"{many(file.features, 'shape')} · {stated or (parsed_crs(usual).name if usual else 'coordinate system not stated')}")
    if usual or (stated and fits):
        return Where()
    if stated:
        if not st.checkbox(f"Use another coordinate system than the file states. {plain(guess.reason)}", key=f"import_override:{file.name}"):
            return Where()
        return Where(guess.crs, guess.swapped, override=True)
    return _asked(file, guess, own, scenes)


def _beside(guess: Guess) -> bool:
    """Is the guess backed by shapes on the imagery?"""
    return "lie on the imagery" in guess.reason


def _asked(file: VectorFile, guess: Guess | None, own: str | None, scenes: Mapping[str, Grid]) -> Where:
    """The question for a file that states no coordinate system."""
    first = [guess.crs] if guess else [own] if own else []
    known = [f"EPSG:{code}" for grid in scenes.values() if (code := grid.crs.to_epsg())]
    options = list(dict.fromkeys([*first, *known, "EPSG:4326", "EPSG:3857"]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        picked = st.selectbox(
            "Coordinate system",
            [*options, OTHER_CRS],
            index=0 if first else None,
            placeholder="Choose the one the file was made in",
            format_func=lambda crs: crs if crs == OTHER_CRS else f"{parsed_crs(crs).name} ({crs})" if len(crs) < 30 else parsed_crs(crs).name,
            key=f"import_crs:{file.name}",
        )
        typed = st.text_input("EPSG code", placeholder="EPSG:26911", key="import_crs_typed").strip() if picked == OTHER_CRS else ""
    swapped = guess is not None and guess.swapped and picked == guess.crs
    if guess is not None and picked == guess.crs:
        st.caption(plain(guess.reason))
    elif guess is None and not own:
        st.caption("The file does not say it, and no system tried puts its shapes on the imagery. Ask whoever made it.")
    return Where(typed or (None if picked in {None, OTHER_CRS} else picked), swapped)


def pictures_for(file: VectorFile, project: Project, rasters: Sequence[Raster]) -> dict[str, Grid]:
    """The pictures that boxes in pixels belong to: the imagery, or the tiles of a tile set.

    Raises:
        LabelFileError: none of them is in this project.
    """
    if not file.pixels:
        return {}
    collections = kept("scenes", (id(file), tuple(raster.id for raster in rasters)), lambda: _collections(project, rasters))
    matched = {name: len(picture_grids(file.pictures, scenes)) for name, scenes in collections.items()}
    fitting = sorted((name for name, n in matched.items() if n), key=lambda name: -matched[name])
    if not fitting:
        wanted = ", ".join(file.pictures[:3]) + (" ..." if len(file.pictures) > 3 else "")
        raise LabelFileError(
            f"The boxes belong to pictures that are not in this project: {wanted}.", "Add those pictures on the Imagery page first."
        )
    picked = fitting[0]
    if len(fitting) > 1:
        picked = st.selectbox("The boxes belong to", fitting, key="import_collection")
    found = matched[picked]
    st.caption(
        f"{many(file.features, 'shape')} on {many(len(file.pictures), 'picture')}; "
        f"{found:,} of the pictures {'is' if found == 1 else 'are'} among {plain(picked)}"
    )
    return dict(collections[picked])


def _collections(project: Project, rasters: Sequence[Raster]) -> dict[str, dict[str, Grid]]:
    found = {"the imagery of this project": {f"{raster.id}/{raster.name}": raster.info.grid for raster in rasters}}
    for folder in list_tile_sets(project.tiles_folder):
        with contextlib.suppress(TerratuneError):
            record = open_tile_set(folder).record
            found[f"the tiles '{folder.name}'"] = {
                tile.image: Grid(*record.size_of(tile), tile.affine, parse_crs(tile.crs)) for tile in record.tiles if tile.crs
            }
    return found


def placed_rows(
    file: VectorFile, where: Where, scenes: Mapping[str, Grid], rasters: Sequence[Raster]
) -> tuple[Placed, np.ndarray]:
    """The rows on the Earth, and which of them lie outside the imagery.

    Raises:
        LabelFileError: the place is unknown or cannot be right.
    """

    def place() -> tuple[Placed, np.ndarray] | TerratuneError:
        try:
            rows = placed(file, where.crs, swapped=where.swapped, override=where.override, scenes=scenes)
        except TerratuneError as error:
            return error
        return rows, outside_imagery(rows, [outline(raster.info) for raster in rasters])

    key = (id(file), where, tuple(scenes), tuple(raster.id for raster in rasters))
    return kept("placed", key, place)


def outlines_within(rows: Placed, lost: np.ndarray, rasters: Sequence[Raster]) -> list[shapely.Polygon] | None:
    """The imagery's outlines when what lies outside is to be left out; None when it stays."""
    count, whole = int(lost.sum()), len(rows.rows)
    if not count:
        return None
    if count == whole - len(rows.unplaced) - int(shapely.is_missing(rows.shapes).sum()):
        st.warning("All shapes lie outside the imagery: is the coordinate system right?", icon=":material/warning:")
        return None
    leave = st.checkbox(f"Leave out {many(count, 'shape')} of {whole:,} that lie outside the imagery", True, key="import_within")
    return [outline(raster.info) for raster in rasters] if leave else None
