"""Change model + two rasters -> the areas that have changed, as objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

import geopandas as gpd

from inference.change import detect_change
from inference.objects.layer import write_objects
from inference.predict import Progress
from inference.settings import Device
from inference.vectors.areas import polygons_of
from inference.vectors.class_map import read_class_map
from inference.vectors.settings import PolygonSettings
from models.bundle import ModelBundle

MAP_FILE = "change.tif"
CONFIDENCE_FILE = "change_confidence.tif"
SHARE_OF_MAPPING = 0.95


def changed_areas(
    bundle: ModelBundle,
    earlier: str,
    later: str,
    out: Path,
    *,
    band_names: Sequence[str] = (),
    later_band_names: Sequence[str] = (),
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[int, int]:
    """Map what has changed and write each connected area as an object; the map itself stays beside, as change.tif.

    Fields: those of `inference.vectors.areas.polygons_of`, with the mean probability of its pixels as Confidence (0..1).

    Args:
        bundle: A model for change detection.
        earlier: Path or http(s) address of the raster before.
        later: Of the one after.
        out: What to write (see `layer.write_objects`).
        band_names: What a person says the bands of the earlier one are; none: as the file says.
        later_band_names: Likewise of the later one.
        device: Where to run.
        progress: Told what is being done and the share done; may raise to stop.

    Returns:
        Class value -> number of areas, for every class of the model.

    Raises:
        TerratuneError: see `inference.change.detect_change`.
    """
    tell = progress or (lambda stage, share: None)
    made, confidence = out.with_name(MAP_FILE), out.with_name(CONFIDENCE_FILE)
    if not made.exists():
        detect_change(
            bundle,
            earlier,
            later,
            made,
            confidence,
            band_names=band_names,
            later_band_names=later_band_names,
            device=device,
            progress=lambda stage, share: tell(stage, SHARE_OF_MAPPING * share),
        )
    found: Counter[int] = Counter()
    values = [c.value for c in bundle.card.classes]

    def tables() -> Generator[gpd.GeoDataFrame]:
        wanted = polygons_of(
            read_class_map(made, confidence),
            values,
            PolygonSettings(),
            progress=lambda share: tell("Outlining what has changed", SHARE_OF_MAPPING + (1 - SHARE_OF_MAPPING) * share),
        )
        for table in wanted:
            found.update(int(value) for value in table["Classvalue"])
            yield table.rename(columns={"confidence": "Confidence"})

    write_objects(tables(), out, bundle.card.classes)
    return {value: found[value] for value in values}
