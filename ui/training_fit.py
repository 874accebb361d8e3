"""Whether tiles, base model and choices fit, said on the Train page before anything starts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from errors import InputMismatchError, TerratuneError
from models.card import band_order
from models.catalogue import CatalogueEntry
from tiles.tile_set import TileSet, open_tile_set
from training.inputs import check_enough, check_quick, check_replay, input_for, measured_anew, reminders_apart, warnings_on
from training.monitor import check_classes
from training.settings import TrainingSettings
from ui.problems import show_problem
from ui.training_view import QUICK


def check_fit(tiles: TileSet, base: CatalogueEntry, wanted: TrainingSettings) -> bool:
    """Say now what would make the run fail; True when it can start."""
    try:
        check_enough(tiles)
        if wanted.freeze == QUICK:
            check_quick(base.title, base.card is not None and bool(base.card.classes))
        kept = base.card.classes if base.card is not None and wanted.keep_old_classes else ()
        check_classes(tiles, wanted, [c.name for c in kept])
        for warning in warnings_on(base.card, tiles):
            st.warning(warning, icon=":material/warning:")
        if base.card is None:
            return True
        model_input = input_for(base.card, tiles, frozen=wanted.freeze != "nothing")
        if wanted.replay_tiles and Path(wanted.replay_tiles).exists():
            replay = open_tile_set(Path(wanted.replay_tiles))
            check_replay(replay, model_input)
            reminders_apart(replay, tiles)
    except TerratuneError as error:
        show_problem(error.fact, error.remedy)
        return False
    try:
        band_order(base.card.input, tiles.record.band_names)
    except InputMismatchError as error:  # not frozen, else it would have been refused above
        st.caption(f"{error.fact} They are learnt anew.".replace("the imagery has", "the tiles have"))
    anew = measured_anew(base.card, tiles)
    if anew:
        st.caption(anew)
    return True
