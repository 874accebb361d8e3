"""Whether tiles, base model and choices fit, said on the Train page before anything starts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from errors import InputMismatchError, TerratuneError
from models.architecture import AnyArchitecture, Architecture
from models.card import band_order
from models.catalogue import CatalogueEntry
from tiles.tile_set import TileSet, open_tile_set
from training.inputs import (
    check_choices,
    check_enough,
    check_quick,
    check_replay,
    check_start,
    input_for,
    measured_anew,
    reminders_apart,
    warnings_on,
)
from training.monitor import check_classes
from training.settings import TrainingSettings
from training.tasks import architecture_for, heeds, kind_of, starting_card
from ui.problems import plain, show_problem
from ui.training_view import QUICK


def check_fit(tiles: TileSet, base: CatalogueEntry, wanted: TrainingSettings) -> bool:
    """Say now what would make the run fail; True when it can start."""
    try:
        check_enough(tiles)
        architecture = architecture_for(wanted.network, tiles, architecture_of(base))
        check_choices(wanted, architecture)
        if base.card is not None:
            check_start(wanted, base.card, architecture)
        card = None if base.card is None else starting_card(base.card, architecture)
        if wanted.freeze == QUICK:
            check_quick(base.title, card is not None and bool(card.classes))
        kept = card.classes if card is not None and wanted.keep_old_classes and heeds(kind_of(architecture), "keep_old_classes") else ()
        check_classes(tiles, wanted, [c.name for c in kept])
        for warning in warnings_on(card, tiles):
            st.warning(warning, icon=":material/warning:")
        if card is None:
            return True
        model_input = input_for(card, tiles, frozen=wanted.freeze != "nothing")
        if wanted.replay_tiles and Path(wanted.replay_tiles).exists():
            replay = open_tile_set(Path(wanted.replay_tiles))
            check_replay(replay, model_input)
            reminders_apart(replay, tiles)
    except TerratuneError as error:
        show_problem(error.fact, error.remedy)
        return False
    try:
        band_order(card.input, tiles.record.seen_bands)
    except InputMismatchError as error:  # not frozen, else it would have been refused above
        st.caption(f"{error.fact} They are learnt anew.".replace("the imagery has", "the tiles have"))
    anew = measured_anew(card, tiles)
    if anew:
        st.caption(anew)
    gone = [plain(c.name) for c in card.classes if c.name.casefold() not in {t.name.casefold() for t in tiles.record.classes}]
    if kind_of(architecture) == "objects" and gone:
        st.caption(f"The new model finds what these tiles show, and no longer {' or '.join(gone)}.")
    return True


def architecture_of(base: CatalogueEntry) -> AnyArchitecture:
    """Of a base model, fetched or not."""
    if base.card is not None:
        return base.card.architecture
    published = base.published.encoder if base.published is not None else None
    return Architecture() if published is None else published
