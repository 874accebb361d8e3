"""Roads scored as roads: by the length that is found and the length that is right, and by the ways that lead along them (`tiles.roads.scores`).

Which classes are roads is seen, not asked: a class of which most, in the tiles kept for the test, is long and thin as drawn (`tiles.roads.found`):
roads, paths, streams, hedges. It takes tiles that say how large their pixels are on the ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from models.bundle import load_bundle
from models.card import Score, read_card, write_card
from models.network import SegmentationNetwork
from tiles.roads.found import area_of_lines, lines_in
from tiles.roads.scores import NEAR_M, SNAP_M, apls, length_scores
from tiles.tile_set import IGNORE_LABEL
from training.compute import Compute
from training.dataset import TileData
from training.features import Features
from training.loop import Tick
from training.pixels import answers
from training.run_folder import MODEL, RESULT, read_result
from workspace.files import write_json

MOST = 0.5
"""Of a class's area that is long and thin, where the class is one of roads."""
ENOUGH_TILES = 40
"""Tiles that are looked at to tell, evenly spread."""
NEAR_PX, SNAP_PX = 1.5, 2.0
"""Where pixels are so large that metres would be stricter than the labels."""

Rows = NDArray[np.float64]
"""(tiles, classes, 5): metres that are there, of them found, metres that are found, of them right, and APLS; NaN where a tile has no way to tell it by."""


class Lines:
    """The roads of the tiles kept for the test, as they were drawn.

    Args:
        data: The tiles.
        outputs: Of the model, background included.
    """

    def __init__(self, data: TileData, outputs: int) -> None:
        self.data = data
        size = data.tile_set.record.resolution_m
        self.size_m = (size or 1.0, size or 1.0)
        self.outputs = self._thin(outputs) if size else ()
        """Those of the model's outputs that are classes of roads."""
        self.base: Rows | None = None
        """What the base model comes to; None where it was not looked at."""
        self._drawn: dict[tuple[int, int], list[shapely.LineString]] = {}

    def note_base(self, tile: int, seen: NDArray[np.uint8]) -> None:
        """Measure what the base model sees, (rows, columns), in one of the tiles."""
        if self.outputs:
            if self.base is None:
                self.base = np.full((len(self.data), len(self.outputs), 5), np.nan)
            self.base[tile] = self.measured(tile, seen)

    def measured(self, tile: int, seen: NDArray[np.uint8]) -> Rows:
        """(classes, 5): see `Rows`. What is ignored in the tile is nowhere a road."""
        drawn = self.data.raw(tile)[2]
        rows = [self._one(tile, output, drawn, (seen == output) & (drawn != IGNORE_LABEL)) for output in self.outputs]
        return np.array(rows, dtype=np.float64).reshape(-1, 5)

    def scored(self, scores: Sequence[Score], names: Sequence[str], on: str, rows: Rows | None) -> tuple[Score, ...]:
        """The scores, those of roads on the tiles kept for the test with what their lines come to.

        Args:
            scores: Of a model.
            names: Of its outputs from 1 on.
            on: What scores on these tiles say they are from.
            rows: Of that model.
        """
        if rows is None:
            return tuple(scores)
        of = {names[output - 1]: rows[:, i] for i, output in enumerate(self.outputs)}
        return tuple(s.model_copy(update=_shares(of[s.class_name])) if s.on == on and s.class_name in of else s for s in scores)

    def _thin(self, outputs: int) -> tuple[int, ...]:
        every = max(1, -(-len(self.data) // ENOUGH_TILES))
        area = np.zeros((outputs, 2))
        for tile in range(0, len(self.data), every):
            drawn = self.data.raw(tile)[2]
            for output in range(1, outputs):
                if (mask := drawn == output).any():
                    area[output] += area_of_lines(mask, self.size_m), mask.sum()
        return tuple(output for output in range(1, outputs) if area[output, 0] > MOST * area[output, 1])

    def _one(self, tile: int, output: int, drawn: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, ...]:
        if (tile, output) not in self._drawn:
            self._drawn[tile, output] = lines_in(drawn == output, self.size_m)
        true, found = self._drawn[tile, output], lines_in(mask, self.size_m)
        size = self.size_m[0]
        by_length = length_scores(found, true, near_m=max(NEAR_M, NEAR_PX * size))
        ways = apls(found, true, snap_m=max(SNAP_M, SNAP_PX * size))
        there, said = by_length.reference_m, by_length.found_m
        return there, there * (by_length.completeness or 0.0), said, said * (by_length.correctness or 0.0), np.nan if ways is None else ways


def look_once_more(
    folder: Path, lines: Lines, names: Sequence[str], on: str, compute: Compute, tick: Tick, features: Features | None
) -> None:
    """Let the card and the result of a finished run say how well its best model finds roads.

    Args:
        folder: Of the run.
        lines: Of its tiles kept for the test.
        names: Of the outputs from 1 on.
        on: What scores on these tiles say they are from.
        compute: Where to.
        tick: Called after each batch; may raise to stop.
        features: What the encoder saw in these tiles, where that is kept.
    """
    if not lines.outputs:
        return
    network = load_bundle(folder / MODEL, SegmentationNetwork).network
    compute.place(network)
    seen = answers(network, lines.data, compute, tick, features)
    rows = np.stack([lines.measured(tile, output) for tile, (output, _) in enumerate(seen)])
    card, result = read_card(folder / MODEL), read_result(folder)
    scores = lines.scored(card.scores, names, on, rows)
    write_card(folder / MODEL, card.model_copy(update={"scores": scores}))
    write_json(folder / RESULT, result | {"after": [s.model_dump(by_alias=True) for s in scores]})


def _shares(rows: Rows) -> dict[str, float | None]:
    """Of (tiles, 5), what all tiles come to together; APLS is the mean over those that tell it."""
    there, found, said, right, _ = rows.sum(axis=0)
    ways = rows[~np.isnan(rows[:, 4]), 4]
    return {
        "completeness": float(found / there) if there else None,
        "correctness": float(right / said) if said else None,
        "apls": float(ways.mean()) if len(ways) else None,
        "length_m": float(there),
    }
