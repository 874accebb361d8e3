"""What a map is asked to be, and the raster and network opened for it. A request is plain values: it can be handed to another process and names the map in its key and tags."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from errors import InputMismatchError
from imagery.raster import RasterInfo, describe
from imagery.read import display_name, open_raster
from imagery.resample import resampled, scaled_grid
from inference.area import content_of, read_area
from inference.classify import Arithmetic, Classifier, make_classifier
from inference.mosaic import Rule
from inference.reuse import map_key
from inference.scan import Scan, strips_of
from inference.settings import Device, MergePolicy
from models.bundle import ModelBundle
from models.card import ModelCard, band_order, check_input, reading_factor
from models.packages.onnx_in import read_onnx
from models.packages.onnx_network import OnnxNetwork
from models.packages.onnx_out import write_onnx
from tiles.windows import even_windows
from workspace.classes import BACKGROUND_VALUE, ClassDef

WINDOW_PX = 768
REACH = 4
"""Windows share so many pixels of the network's coarsest features; docs/prediction.md shows how far what lies beyond a window is missed."""
NEVER = 2.0
"""A threshold that no probability reaches."""


@dataclass(frozen=True)
class MapRequest:
    """A raster, and how it is to be classified. See `inference.predict.predict_raster` for what each means."""

    source: str
    classes: tuple[ClassDef, ...]
    """Of the model's outputs 1, 2, ..., with the values to be written."""
    layers: tuple[str, ...] = ("classes",)
    """Which of `inference.scan.LAYERS`."""
    bands: tuple[int, ...] | None = None
    band_names: tuple[str, ...] = ()
    window_px: int = WINDOW_PX
    overlap_px: int | None = None
    find_more: Mapping[int, float] = field(default_factory=dict)
    thresholds: Mapping[int, float] = field(default_factory=dict)
    predict_background: bool = True
    test_time_augmentation: bool = False
    merge_policy: MergePolicy = "mean"
    area: Path | None = None
    device: Device = "auto"
    arithmetic: Arithmetic = "float32"

    @property
    def values(self) -> tuple[int, ...]:
        """What is written for each output."""
        return (BACKGROUND_VALUE, *(c.value for c in self.classes))

    @property
    def factors(self) -> dict[int, float]:
        """On the odds, by class value."""
        return {value: self.find_more.get(value, 1.0) for value in self.values}

    @property
    def least(self) -> dict[int, float]:
        """Least probability, by class value."""
        return {value: self.thresholds.get(value, 0.0) for value in self.values[1:]}

    @property
    def choices(self) -> dict[str, Any]:
        """What decides the pixels, besides raster, model and area."""
        return {
            "find_more": self.factors,
            "thresholds": self.least,
            "predict_background": self.predict_background,
            "test_time_augmentation": self.test_time_augmentation,
            "merge_policy": self.merge_policy,
            "window_px": self.window_px,
            "overlap_px": self.overlap_px,
            "bands": self.bands,
            "arithmetic": self.arithmetic,
        }


def as_onnx(bundle: ModelBundle) -> OnnxNetwork:
    """The same network, run by ONNX Runtime: takes half a minute to make ready."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(bundle, file)
        return read_onnx(file)[0]


def classifier_for(bundle: ModelBundle, request: MapRequest) -> Classifier:
    """The network, ready to classify as asked."""
    return make_classifier(
        as_onnx(bundle) if request.arithmetic == "onnxruntime" else bundle.network,
        bundle.card.input.mean,
        bundle.card.input.std,
        request.device,
        tuple(request.factors.values()),
        test_time_augmentation=request.test_time_augmentation,
        merge_policy=request.merge_policy,
        arithmetic=request.arithmetic,
    )


def open_scan(stack: ExitStack, bundle: ModelBundle, request: MapRequest, classifier: Classifier | None = None) -> Scan:
    """Open the raster and make the network ready, unless it is given; `stack` closes what was opened.

    Raises:
        InputMismatchError: the raster lacks bands of the model, has another type of values, or is much too coarse or fine.
        ImageryError: the raster cannot be read.
        LabelError: the area cannot be read or lies elsewhere.
    """
    card = bundle.card
    if len(request.classes) != len(card.classes):
        raise ValueError(f"{len(request.classes)} classes given for a model with {len(card.classes)}")
    dataset = stack.enter_context(open_raster(request.source))
    info = describe(dataset, display_name(request.source), None).named(request.band_names)
    factor = reading_factor(card.input, info.resolution_m)
    work = info.grid if factor == 1 else scaled_grid(info.grid, factor)
    stride, overlap = bundle.network.stride, overlap_of(bundle, request)
    least = (0.0 if request.predict_background else NEVER, *request.least.values())
    return Scan(
        view=dataset if factor == 1 else stack.enter_context(resampled(dataset, work)),
        work=work,
        grid=info.grid,
        gaps=stack.enter_context(open_raster(request.source))
        if factor != 1 and info.may_have_gaps
        else None,  # read by another thread than the view
        area=None if request.area is None else read_area(request.area, info.grid),
        bands=model_bands(card, info, request.bands),
        imagery_bands=info.image_bands,
        classifier=classifier or classifier_for(bundle, request),
        rule=Rule(np.array(request.values, np.uint8), np.array(least, np.float32)),
        columns=even_windows(work.width, request.window_px, overlap, stride),
        rows=even_windows(work.height, request.window_px, overlap, stride),
        layers=request.layers,
    )


def chosen(bundle: ModelBundle, request: MapRequest, scan: Scan) -> dict[str, Any]:
    """All that was chosen, or settled from what the raster and the network are, and decides the pixels of the map."""
    return request.choices | {"overlap_px": overlap_of(bundle, request), "bands": scan.bands}


def key_of(bundle: ModelBundle, request: MapRequest, scan: Scan) -> str | None:
    """Names the pixels of the map and the pieces they are made in (`inference.pieces`); None where nothing can be gone on from."""
    return map_key(
        bundle.card,
        request.source,
        request.classes,
        **chosen(bundle, request, scan),
        area=content_of(request.area),
        strips=[strip.right for strip in strips_of(scan)],
        layers=scan.layers,
        device=scan.classifier.device.type,
    )


def overlap_of(bundle: ModelBundle, request: MapRequest) -> int:
    """Pixels that windows share at least."""
    return overlap_for(bundle.network.stride, request.window_px) if request.overlap_px is None else request.overlap_px


def overlap_for(stride: int, window_px: int) -> int:
    """Pixels that windows share: what the network's coarsest features span a few of, between an eighth and a quarter of a window.

    Args:
        stride: Pixels that one of the coarsest features spans.
        window_px: Largest side of a window.
    """
    return int(np.clip(REACH * stride, window_px // 8, window_px // 4))


def model_bands(card: ModelCard, info: RasterInfo, bands: Sequence[int] | None = None) -> tuple[int, ...]:
    """1-based raster bands in the model's order: `bands` where given, else found by name.

    Raises:
        InputMismatchError: a band is missing, there are too many or too few, or the values are of another type.
    """
    names = list(info.band_names if bands is None else card.input.band_names)
    if bands is not None and (len(bands) != len(names) or not all(1 <= band <= info.count for band in bands)):
        raise InputMismatchError(
            f"Bands {', '.join(map(str, bands))} were chosen; the model takes {len(names)} ({', '.join(names)}) and the raster has {info.count}.",
            "Choose one band of the raster for each band of the model, in that order.",
        )
    check_input(card, names, info.dtype, info.resolution_m)
    return tuple(index + 1 for index in band_order(card.input, names)) if bands is None else tuple(bands)
