"""Which numbers a network calculates with: tried out on some windows of the raster, remembered for this machine and model.

16-bit numbers (bfloat16) are quick on some processors, ONNX Runtime is on others, and what either changes depends on the model. So each is timed and its
classes are compared with those of 32-bit numbers. What was found is kept in `<data folder>/arithmetic/`; a map that was begun goes on as it began.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch.onnx import OnnxExporterError

from errors import BundleError
from imagery.read import Pixels, read_window
from inference.classify import Arithmetic, Classifier, device_of, fast_bfloat16
from inference.memory import give_memory_back
from inference.pieces import begun_with
from inference.request import MapRequest, classifier_for, open_scan
from inference.scan import Scan
from inference.settings import Precision
from models.architecture import OnnxArchitecture
from models.bundle import ModelBundle
from models.card import ModelCard
from models.packages.formats import cannot_be
from workspace.files import write_json
from workspace.settings import settings_from_environment

LIMIT = 0.001
"""Share of pixels that may have another class than with 32-bit numbers."""
SAMPLE_LIMIT = LIMIT / 2
"""The same of the pixels that are tried: a few windows can be lucky ones."""
QUICKER = 1.1
"""So many times as quick as 32-bit numbers, or it is not worth any difference."""
WINDOWS = 9
SIDE_PX = 256
LATTICE = 8
"""Windows are looked for at so many places along each side."""
LEAST_VALID = 0.5
WORTH_TRYING_PX = 4_000_000
"""For fewer pixels 32-bit numbers are quick, too."""
WORTH_EXPORTING_S = 900
"""Expected seconds from which on ONNX Runtime is tried: to make the model ready for it takes half a minute."""
IN_WORDS: dict[Arithmetic, str] = {
    "float32": "32-bit numbers",
    "bfloat16": "16-bit numbers (bfloat16)",
    "onnxruntime": "32-bit numbers by ONNX Runtime",
}


@dataclass(frozen=True)
class Trial:
    """What was seen of one way of calculating."""

    seconds: float
    """For a million pixels."""
    changed: float
    """Share of pixels with another class than with 32-bit numbers."""


Trials = Mapping[Arithmetic, Trial]
_STORED = TypeAdapter(dict[Arithmetic, Trial])


@dataclass(frozen=True)
class Chosen:
    """The way to calculate, and why."""

    arithmetic: Arithmetic
    reason: str
    """A sentence for the log."""


def choose(
    precision: Precision,
    request: MapRequest,
    card: ModelCard,
    load: Callable[[], ModelBundle],
    out: Path,
    pixels: int,
    tell: Callable[[float], None] = lambda share: None,
) -> Chosen:
    """How to calculate a map.

    Args:
        precision: "exact" for 32-bit numbers, "auto" for the quickest that changes little.
        request: The map; its own `arithmetic` is not looked at.
        card: Of the model.
        load: Gives the model; called only when something has to be tried.
        out: The class raster that is to be made.
        pixels: That are going to be predicted with the model, of this raster and others.
        tell: Hears the share of the trial done; may raise to stop.

    Raises:
        InputMismatchError, ImageryError, LabelError: as `inference.request.open_scan`.
    """
    if precision == "exact" or isinstance(card.architecture, OnnxArchitecture):
        return Chosen("float32", f"Calculating with {IN_WORDS['float32']}.")
    begun = next((each for each in IN_WORDS if each == begun_with(out)), None)
    if begun:
        return Chosen(begun, f"Going on with {IN_WORDS[begun]}, as this map was begun.")
    device = device_of(request.device)
    file = _memory(card, request, device)
    known = _read(file)
    if not known:
        if pixels < WORTH_TRYING_PX:
            return Chosen("float32", f"Calculating with {IN_WORDS['float32']}: the map is too small for trying out anything quicker.")
        known = _tried(load(), request, ["float32", "bfloat16"] if fast_bfloat16(device) else ["float32"], tell)
    expected = min((trial.seconds for trial in known.values()), default=0.0) * pixels / 1e6
    if "onnxruntime" not in known and device.type == "cpu" and expected > WORTH_EXPORTING_S and not cannot_be(card, "onnx"):
        with contextlib.suppress(BundleError, OnnxExporterError):  # a library is missing, or the network has parts that ONNX does not know
            known = known | _tried(load(), request, ["float32", "onnxruntime"], tell)
    if known and card.weights_sha256:
        write_json(file, _STORED.dump_python(known))
    return best(known)


def best(trials: Trials) -> Chosen:
    """The quickest that changes few enough classes."""
    if not trials:
        return Chosen("float32", f"Calculating with {IN_WORDS['float32']}: no imagery was found to try out anything else.")
    base = trials["float32"]
    allowed = {a: t for a, t in trials.items() if a == "float32" or (t.changed <= SAMPLE_LIMIT and t.seconds * QUICKER <= base.seconds)}
    chosen = min(allowed, key=lambda a: allowed[a].seconds)
    others = [
        f"{IN_WORDS[a]} took {t.seconds / base.seconds:.0%} of the time of 32-bit numbers and changed the class of {t.changed:.3%} of the pixels tried"
        for a, t in trials.items()
        if a != "float32"
    ]
    return Chosen(chosen, f"Calculating with {IN_WORDS[chosen]}{': ' + '; '.join(others) if others else ''}.")


def _tried(bundle: ModelBundle, request: MapRequest, ways: list[Arithmetic], tell: Callable[[float], None]) -> dict[Arithmetic, Trial]:
    """Each way on the same windows, in turns, so that what else the machine does meets all alike; nothing where there is no imagery."""
    give_memory_back()
    once = replace(request, test_time_augmentation=False, arithmetic="float32")
    plain = classifier_for(bundle, once)
    with ExitStack() as stack:
        scan = open_scan(stack, bundle, once, plain)
        classifiers: dict[Arithmetic, Classifier] = {way: _calculating(plain, way, bundle, once) for way in ways}
        seconds: dict[Arithmetic, list[float]] = {way: [] for way in ways}
        changed: dict[Arithmetic, int] = dict.fromkeys(ways, 0)
        pixels = 0
        for number, window in enumerate(_sample(scan)):
            tell(number / WINDOWS)
            classes = {}
            for way, classifier in classifiers.items():
                began = time.perf_counter()
                probabilities = classifier.probabilities([window.values], [window.valid])[0]
                seconds[way].append((time.perf_counter() - began) / window.valid.size * 1e6)
                classes[way] = scan.rule.choose(probabilities)
                changed[way] += int((classes[way] != classes["float32"])[window.valid].sum())
            pixels += int(window.valid.sum())
    return {way: Trial(statistics.median(seconds[way]), changed[way] / pixels) for way in ways} if pixels else {}


def _calculating(plain: Classifier, way: Arithmetic, bundle: ModelBundle, request: MapRequest) -> Classifier:
    """`plain` with other numbers: the same network, but for ONNX Runtime."""
    return classifier_for(bundle, replace(request, arithmetic=way)) if way == "onnxruntime" else replace(plain, arithmetic=way)


def _sample(scan: Scan) -> Iterator[Pixels]:
    """Windows spread over the raster, at the ground resolution that the model is shown, where at least half is imagery."""
    width, height = min(SIDE_PX, scan.work.width), min(SIDE_PX, scan.work.height)
    places = [(column, row) for row in range(LATTICE) for column in range(LATTICE)]
    found = 0
    for index in np.random.default_rng(0).permutation(len(places)):
        column, row = (int(place * (side - used) / (LATTICE - 1)) for place, side, used in zip(places[index], scan.work.shape[::-1], (width, height), strict=True))
        if not scan.touches(column, row):
            continue
        window = read_window(scan.view, column, row, width, height, scan.bands, scan.imagery_bands)
        if window.valid.mean() >= LEAST_VALID:
            yield window
            found += 1
        if found == WINDOWS:
            return


def _memory(card: ModelCard, request: MapRequest, device: torch.device) -> Path:
    """Where it is kept what was found for this machine, model and way of choosing classes."""
    facts = [
        platform.machine(),
        _processor(),
        torch.cuda.get_device_name() if device.type == "cuda" else "",
        torch.__version__,
        torch.get_num_threads(),
        card.weights_sha256,
        card.architecture.model_dump(mode="json"),
        card.input.model_dump(mode="json"),
        list(request.factors.values()),
        list(request.least.values()),
        request.predict_background,
    ]
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    return settings_from_environment().data_folder / "arithmetic" / f"{name}.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _read(file: Path) -> dict[Arithmetic, Trial]:
    try:
        return _STORED.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return {}
