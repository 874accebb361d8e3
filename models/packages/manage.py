"""The models of a project: rename, delete, compare. No torch here."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errors import BundleError
from models.card import ModelCard, read_card, write_card

MOST_TITLE = 120


@dataclass(frozen=True)
class Compared:
    """One fact of several models."""

    what: str
    values: tuple[str, ...]
    """One for each model; empty where it is not known."""

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def rename_model(folder: Path, title: str) -> ModelCard:
    """Give the bundle in `folder` another title. Its folder stays, as runs and comparisons know the model by it.

    Raises:
        BundleError: there is nothing left of the title, or the card cannot be read.
    """
    plain = " ".join(title.split())
    if not plain or len(plain) > MOST_TITLE:
        raise BundleError(f"A model's name has 1 to {MOST_TITLE} letters.", "Type another one.")
    card = read_card(folder).model_copy(update={"title": plain})
    write_card(folder, card)
    return card


def delete_model(folder: Path) -> None:
    """Remove the bundle in `folder`, at once as far as others see it.

    Raises:
        BundleError: there is no model in it.
    """
    read_card(folder)
    going = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def compare_cards(cards: Sequence[ModelCard]) -> list[Compared]:
    """All that cards say, side by side; facts that none of them has are left out."""
    columns = [_facts(card) for card in cards]
    order = list(dict.fromkeys(what for facts in columns for what in facts))
    rows = [Compared(what, tuple(facts.get(what, "") for facts in columns)) for what in order]
    return [row for row in rows if any(row.values)]


def _facts(card: ModelCard) -> dict[str, str]:
    seen, made = card.input, card.provenance
    scaling = "; ".join(f"{name}: {mean:g}, {std:g}" for name, mean, std in zip(seen.band_names, seen.mean, seen.std, strict=True))
    scores = {f"IoU of {s.class_name} ({s.on})": f"{s.iou:.3f}" for s in card.scores if s.iou is not None}
    return {
        "Gives": card.task,
        "Finds": ", ".join(c.name for c in card.classes),
        "Network": card.architecture.encoder,
        "Million numbers": f"{card.parameters / 1e6:.1f}" if card.parameters else "",
        "Bands": ", ".join(seen.band_names),
        "Type of values": seen.dtype,
        "Mean and deviation": scaling,
        "Pixel size": "" if seen.resolution_m is None else f"{seen.resolution_m:.2g} m",
        "Tile size": f"{seen.tile_size} pixels",
        **scores,
        "Learnt from": card.training_data,
        "Base model": card.base.name if card.base else "",
        "Made by": card.made_by,
        "Made on": card.created[:10],
        "Program": made.code_version,
        "Seed": "" if made.seed is None else str(made.seed),
        "Checksum of its tiles": made.tile_set_sha256[:12],
        "Imported from": made.package,
        "Checksum of the weights": card.weights_sha256[:12],
        "Licence": card.licence,
    }
