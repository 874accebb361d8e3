"""What a promptable model is: it looks at a chip once, then answers many prompts about it. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Embedding = Mapping[str, NDArray[Any]]
"""What a model made of one chip: named arrays, the way they are kept on disk (floats in half precision)."""
Progress = Callable[[float], None]
"""Called with the share done, 0..1; may raise to stop."""


@dataclass(frozen=True)
class Point:
    """A click. Pixels of the chip, (x, y) counted from the outer corner of its top-left pixel."""

    x: float
    y: float
    wanted: bool = True
    """False: not this."""


@dataclass(frozen=True)
class Prompt:
    """What a person pointed at, in the pixels of one chip."""

    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    """(left, top, right, bottom), as for points."""
    logits: NDArray[np.float32] | None = None
    """What is selected so far: one of `Candidates.logits`, or `PromptableModel.logits_of(a mask)`."""

    @property
    def ambiguous(self) -> bool:
        """A single click says little: the object, a part of it, or what it is part of?"""
        return self.box is None and self.logits is None and len(self.points) == 1


@dataclass(frozen=True)
class Candidates:
    """Possible answers, the likeliest first."""

    scores: NDArray[np.float32]
    """(n,): how good the model thinks each is, about 0..1."""
    logits: NDArray[np.float32]
    """(n, ...): each in the model's own low resolution, above 0 where it is the object; `PromptableModel.mask` makes pixels of it."""


@dataclass(frozen=True)
class Thing:
    """Something that a model sees without being pointed at it."""

    score: float
    """How good the model thinks the outline is, about 0..1."""
    mask: NDArray[np.bool_]
    """(rows, columns) of the chip."""
    features: NDArray[np.float32]
    """As `PromptableModel.describe` tells them."""


class PromptableModel(Protocol):
    """Encode once, answer many. SAM and its successors fit; so do methods without weights."""

    key: str
    """Changes when an embedding of the same chip would: part of the key under which embeddings are kept."""

    @property
    def offered_from(self) -> float:
        """Of everything in an area, what has at least this score is offered first."""
        ...

    @property
    def alike_from(self) -> float:
        """Of all like the examples, what has at least this likeness is offered first."""
        ...

    def encode(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_], progress: Progress) -> dict[str, NDArray[Any]]:
        """Look at a chip.

        Args:
            rgb: (rows, columns, 3), at most 1024 a side.
            valid: (rows, columns); elsewhere there is no imagery.
            progress: See `Progress`.
        """
        ...

    def predict(self, embedding: Embedding, prompt: Prompt) -> Candidates:
        """Answer a prompt; at least one candidate."""
        ...

    def mask(self, embedding: Embedding, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """One of `Candidates.logits` as (rows, columns) pixels of the chip."""
        ...

    def logits_of(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """A (rows, columns) mask in the form that `Prompt.logits` takes."""
        ...

    def everything(self, embedding: Embedding, points: Sequence[Point], progress: Progress) -> Iterator[Thing]:
        """What lies at any of many points: things, parts of things and what they are part of, the best first, each once."""
        ...

    def describe(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(features,): what is inside a (rows, columns) mask, for `likeness`."""
        ...

    def likeness(self, things: NDArray[np.float32], scores: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
        """How like the examples things are.

        Args:
            things: (things, features), all that was seen in an area: what differs little among them counts more.
            scores: (things,), as `everything` gave them.
            examples: (examples, features).

        Returns:
            (things,), at most 1: the same as one of the examples.
        """
        ...
