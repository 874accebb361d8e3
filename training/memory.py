"""Batches that memory is too small for: cut in pieces, and how large a batch may be at all."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from errors import TrainingError

TOO_SMALL = "The memory of this computer is too small to learn from even one tile at a time."
REMEDY = "Set a smaller 'Chip size' under More options, choose a smaller base model, or close other programs."


@dataclass
class Pieces:
    """Into how many pieces a batch is cut, one after the other, their gradients added up. Doubled when memory runs out, for good."""

    count: int = 1


def in_pieces(tiles: int, pieces: Pieces, learn: Callable[[slice, float], float], *, begin: Callable[[], None]) -> float:
    """Do `learn(which tiles, their share of the batch)` for a whole batch; from the beginning, in smaller pieces, where memory runs out.

    Returns:
        The sum of what `learn` gave.

    Raises:
        TrainingError: memory is too small for a single tile.
    """
    while True:
        begin()
        side = -(-tiles // pieces.count)
        try:
            return sum(learn(slice(i, i + side), (min(i + side, tiles) - i) / tiles) for i in range(0, tiles, side))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if side == 1:
            raise TrainingError(TOO_SMALL, REMEDY)
        pieces.count *= 2
        begin()  # gives back what the failed try still holds
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Did memory run out, on a graphics card or in the computer?"""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
