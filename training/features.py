"""What a frozen encoder says of tiles, kept: it looks at each tile once, however many epochs learn from it.

Each tile is looked at as it is and, while there are not too many, turned, mirrored and recoloured in up to seven further fixed ways. What the encoder said is kept in
half precision in the data folder, by the content of the tile, so the next run on the same tiles looks only at what is new. Nothing that is learnt depends on
whether something was kept: where the disk has no room the encoder looks again and says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from errors import DiskFullError
from models.arcgis.roads import RoadNetwork
from models.card import ModelInput
from models.network import ChangeNetwork, SegmentationNetwork
from tiles.tile_set import IGNORE_LABEL
from training.augment import Strengths, recolour, strengths_of, turned
from training.compute import Compute
from training.dataset import TileData
from training.ladder import QUICK
from training.settings import TrainingSettings
from workspace.array_store import ArrayStore, MappedArrays
from workspace.files import size_in_words
from workspace.settings import settings_from_environment

LOOKS = 160
"""At tiles before learning starts: fewer tiles are looked at in more ways. Every tile is looked at once, however many there are."""
MOST_WAYS = 8
SMALLEST_SQUARE_PX = 64
SPARE_BYTES = 10**9
"""Of the disk, left alone: models and checkpoints need room, too."""
LOOKING = "Looking at your tiles once"
_LARGEST = 65504.0
"""In half precision."""
Drawn = tuple[TileData, int, int, "Window"]
"""A part of a tile: its set, which one, in which way looked at, where."""


@dataclass(frozen=True)
class Seen:
    """A batch of what the encoder said."""

    levels: list[Tensor]
    """Each (n, channels, rows / stride, columns / stride), finest first."""
    target: Tensor
    """(n, rows, columns) int64 output index; 255 ignored."""

    def __len__(self) -> int:
        return len(self.target)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.target.shape[-2], self.target.shape[-1]


@dataclass(frozen=True)
class Window:
    """A part of a tile, in pixels; all four are multiples of the network's stride."""

    row: int
    column: int
    rows: int
    columns: int


def why_anew(network: SegmentationNetwork, settings: TrainingSettings) -> str:
    """Why every epoch has to look at the tiles anew; empty where looking once is enough."""
    if isinstance(network, RoadNetwork):
        return "because it learns which way roads lead besides"
    if settings.freeze == QUICK:  # tiles are taken as they are
        return ""
    if settings.mixup:
        return "because mixup lays them over one another anew each time"
    strengths = strengths_of(settings)
    if settings.augment == "custom" and strengths is not None and _recolours(strengths):
        return "because they are zoomed or recoloured in ways of your own"
    return ""


def looked_once(
    network: SegmentationNetwork,
    settings: TrainingSettings,
    model_input: ModelInput,
    compute: Compute,
    learnt: Sequence[TileData],
    scored: Sequence[TileData],
    stage: Callable[[str, float], None],
) -> tuple[Features | None, str]:
    """Look at all tiles once, where the way to train asks for it.

    In how many ways follows from settings, tiles and the size limit alone, so that a run that goes on comes to the same numbers.

    Args:
        network: On its device, its encoder frozen.
        settings: Of the run.
        model_input: Of the new model.
        compute: Where.
        learnt: Tiles to learn from.
        scored: Tiles that are only scored.
        stage: Called often; may raise to stop.

    Returns:
        What was seen, None where every epoch looks anew; and either in words for the log.
    """
    if settings.freeze not in (QUICK, "features"):
        return None, ""
    if why := why_anew(network, settings):
        return None, f"Every epoch looks at the tiles anew, {why}."
    installation = settings_from_environment()
    store = ArrayStore(installation.data_folder / "features", installation.features_bytes)
    features = Features(network, model_input, compute, store, strengths_of(settings))
    to_learn, to_score = (sum(len(data) for data in sets) for sets in (learnt, scored))
    varied = features.strengths is not None and settings.freeze != QUICK
    wanted = min(max(LOOKS // to_learn, 1), MOST_WAYS) if varied else 1
    features.ways = min(wanted, (features.room(learnt[0]) - to_score) // to_learn)
    if features.ways < 1:
        limit = size_in_words(store.limit_bytes)
        return (
            None,
            f"Every epoch looks at the tiles anew, because what the backbone sees in so many takes more than {limit} (TERRATUNE_FEATURES_MB).",
        )
    looks = to_learn * features.ways + to_score
    done = 0
    for data, ways in (*((data, features.ways) for data in learnt), *((data, 1) for data in scored)):
        for number in range(len(data) * ways):
            stage(LOOKING, done / looks)
            features.look(data, number // ways, number % ways)
            done += 1
    varied_so = f", in {features.ways} ways where it learns" if features.ways > 1 else ""
    new = f"{features.looked} of {looks} looks were new"
    full = " The disk has no room to keep what it sees, so it looks again each time: the same result, only slower." if features.full else ""
    return features, f"The backbone looks once at each of {to_learn + to_score} tiles{varied_so}; {new}.{full}"


def _recolours(strengths: Strengths) -> bool:
    return strengths.zoom > 1 or max(strengths.contrast, strengths.brightness, strengths.saturation) > 0


@dataclass
class Features:
    """What one frozen encoder says of tiles."""

    network: SegmentationNetwork
    """On its device; of it only the encoder is asked here."""
    input: ModelInput
    compute: Compute
    store: ArrayStore
    strengths: Strengths | None = None
    """Of the changes in the further ways that a tile is looked at; None: it is only looked at as it is."""
    ways: int = 1
    """In which each tile to learn from is looked at."""
    looked: int = 0
    """How often the encoder was asked."""
    full: bool = False
    """Nothing more is kept: the disk has no room."""
    _about: str = ""
    _open: dict[str, MappedArrays] = field(default_factory=dict)
    _put: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Work out what the keys of all tiles have in common."""
        digest = hashlib.sha256()
        for name, tensor in self.network.encoder.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        network = (type(self.network).__name__, str(self.network.encoder), self.network.stride)
        numbers = (self.compute.device.type, self.compute.half, self.input.mean, self.input.std)
        digest.update(repr(("features 1", *network, *numbers, self.strengths)).encode())
        self._about = digest.hexdigest()

    def key(self, data: TileData, index: int, way: int) -> str:
        """Of what is kept: encoder, normalisation, pixels and the way they are looked at."""
        return hashlib.sha256(f"{self._about} {data.digest(index)} {way}".encode()).hexdigest()

    def room(self, data: TileData) -> int:
        """How many such tiles may be kept."""
        self.look(data, 0, 0)
        each = 2 * sum(level.numel() for level in self._said(data, 0, 0, self.padded(data)))
        return int(0.9 * self.store.limit_bytes / each)

    def look(self, data: TileData, index: int, way: int) -> None:
        """Look at a tile, unless what is seen there is kept."""
        if not self.full and self._kept(self.key(data, index, way)) is None:
            self._look(data, index, way)

    def whole(self, data: TileData, indices: Sequence[int]) -> tuple[list[Tensor], tuple[int, int]]:
        """Of whole tiles as they are: what `SegmentationNetwork.decode` takes."""
        columns, rows = data.tile_set.record.tile_sides
        return self._levels([(data, index, 0, self.padded(data)) for index in indices]), (rows, columns)

    def batch(self, drawn: Sequence[Drawn]) -> Seen:
        """Parts of tiles, all of one size."""
        return Seen(self._levels(drawn), torch.stack([self._target(*one) for one in drawn]).long())

    def padded(self, data: TileData) -> Window:
        """All of a tile as the encoder sees it."""
        columns, rows = data.tile_set.record.tile_sides
        return Window(0, 0, rows + -rows % self.network.stride, columns + -columns % self.network.stride)

    def _levels(self, drawn: Sequence[Drawn]) -> list[Tensor]:
        """Level by level (n, channels, rows, columns), channels last in memory."""
        said = [self._said(*one) for one in drawn]
        return [torch.stack(level).movedim(-1, 1).to(self.compute.device) for level in zip(*said, strict=True)]

    def _said(self, data: TileData, index: int, way: int, window: Window) -> list[Tensor]:
        """Of a part of a tile, level by level (rows, columns, channels)."""
        whole, kept = self.padded(data), self._kept(self.key(data, index, way))
        if kept is not None:
            return [_unpacked(kept.window(name, *_within(window, whole, kept.shape(name)))) for name in kept.names]
        return [_unpacked(array[_within(window, whole, array.shape)]) for array in self._look(data, index, way).values()]

    def _kept(self, key: str) -> MappedArrays | None:
        if key not in self._open:
            kept = self.store.mapped(key)
            if kept is None:
                return None
            self._open[key] = kept
        return self._open[key]

    def _look(self, data: TileData, index: int, way: int) -> dict[str, NDArray[Any]]:
        """Ask the encoder, and keep what it says while there is room."""
        said, key = self.encoded(data, index, way), self.key(data, index, way)
        if not self.full:
            try:
                self.store.put(key, said)
                self._put.append(key)
                if self.store.free_bytes() < SPARE_BYTES:
                    self._give_way()
            except (DiskFullError, OSError):  # no room, or a folder that may not be written to
                self._give_way()
        return said

    def _give_way(self) -> None:
        """The disk is full: what this run kept goes, so that there is room for its model."""
        self.full = True
        for key in self._put:
            self._open.pop(key, None)
            self.store.drop(key)

    @torch.no_grad()
    def encoded(self, data: TileData, index: int, way: int) -> dict[str, NDArray[Any]]:
        """Level by level (rows, columns, channels), in half precision. One tile at a time, so that what is said of it depends on no other."""
        self.looked += 1
        batch = data.batch([index])
        image, valid = self._turned(batch.image, way), self._turned(batch.valid, way)
        if self.strengths is not None and way:
            random = torch.Generator().manual_seed(int(self.key(data, index, way)[:12], 16))
            dates = image.chunk(2 if isinstance(self.network, ChangeNetwork) else 1, dim=1)
            image = torch.cat([recolour(date, random, self.strengths) for date in dates], dim=1) * valid
        self.network.encoder.eval()
        with self.compute.mixed():
            levels = self.network.encode(self.network.pad(self.compute.move(image.contiguous())))
        return {str(i): _packed(level[0].movedim(0, -1), self.compute.half) for i, level in enumerate(levels)}

    def _target(self, data: TileData, index: int, way: int, window: Window) -> Tensor:
        target, whole = self._turned(torch.from_numpy(data.target(index)), way), self.padded(data)
        target = F.pad(target, (0, whole.columns - target.shape[1], 0, whole.rows - target.shape[0]), value=IGNORE_LABEL)
        return target[window.row : window.row + window.rows, window.column : window.column + window.columns]

    def _turned(self, x: Tensor, way: int) -> Tensor:
        """In one of the eight positions of a square (four where it is not square), the first as it is."""
        if self.strengths is None or not self.strengths.turn:
            return x
        square = x.shape[-2] == x.shape[-1]
        return turned(x, way % 4, mirrored=way >= 4) if square else turned(x, way % 2 * 2, mirrored=way % 4 >= 2)


def seen_batches(
    features: Features,
    drawn: Iterable[tuple[Sequence[int], Sequence[int]]],
    new: TileData,
    replay: TileData | None,
    side: int,
    random: torch.Generator,
) -> Iterator[Seen]:
    """Batches to learn from.

    Args:
        features: What was seen.
        drawn: For each batch which new tiles and which reminder tiles.
        new: Tiles to learn from.
        replay: Reminder tiles.
        side: Of the squares that are drawn from the tiles, in pixels; a tile's shorter side stays whole.
        random: Draws.
    """
    stride = features.network.stride
    wholes = [features.padded(data) for data in (new, replay) if data is not None]
    side = max(stride, side // stride * stride)
    rows, columns = min(side, *(whole.rows for whole in wholes)), min(side, *(whole.columns for whole in wholes))

    def part(data: TileData, index: int) -> Drawn:
        whole = features.padded(data)
        row, column = (
            int(torch.randint(0, room // stride + 1, (), generator=random)) * stride
            for room in (whole.rows - rows, whole.columns - columns)
        )
        return data, index, int(torch.randint(0, features.ways, (), generator=random)), Window(row, column, rows, columns)

    for fresh, reminders in drawn:
        parts = [part(new, index) for index in fresh]
        yield features.batch(parts + ([part(replay, index) for index in reminders] if replay is not None else []))


def _within(window: Window, whole: Window, shape: Sequence[int]) -> tuple[slice, slice]:
    """Where a window of a tile lies in a level of this shape (rows, columns, channels)."""
    down, across = whole.rows // shape[0], whole.columns // shape[1]
    return (
        slice(window.row // down, (window.row + window.rows) // down),
        slice(window.column // across, (window.column + window.columns) // across),
    )


def _packed(level: Tensor, half: torch.dtype | None) -> NDArray[Any]:
    """In half precision; bfloat16, which numpy does not know, as the bits of whole numbers."""
    if half is torch.bfloat16:
        return level.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
    return level.cpu().clamp(-_LARGEST, _LARGEST).half().contiguous().numpy()


def _unpacked(array: NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.view(torch.bfloat16) if tensor.dtype is torch.int16 else tensor.float()
