"""Band statistics over many tiles, a piece of imagery in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.values import BandStatistics

SAMPLE_SIZE = 200_000
FEW_VALUES = 8
"""Classes up to here are counted one by one, which is several times faster than all at once."""


class RunningStatistics:
    """Minimum, maximum, mean, standard deviation and percentiles of each band, streamed.

    Exact for integers of up to 16 bits (a histogram). For other types, mean and squared deviations are merged per piece (Chan, Golub and LeVeque
    1979), and percentiles come from a uniform sample of 200,000 pixels (reservoir by random keys), seeded.

    Args:
        bands: Number of bands.
        dtype: Of the imagery.
        seed: Of the sample.
    """

    def __init__(self, bands: int, dtype: str, seed: int = 0) -> None:
        kind = np.dtype(dtype)
        self._whole = kind.kind in "iu" and kind.itemsize <= 2
        self._lowest = int(np.iinfo(kind).min) if self._whole else 0
        self._histogram = np.zeros((bands, 2 ** (8 * kind.itemsize) if self._whole else 0), dtype=np.int64)
        self._moments = np.tile([0.0, 0.0, 0.0, np.inf, -np.inf], (bands, 1))
        """(bands, 5): count, mean, sum of squared deviations, minimum, maximum."""
        self._samples = [(np.empty(0), np.empty(0)) for _ in range(bands)]
        self._rng = np.random.default_rng(seed)

    def add(self, image: NDArray[Any], times: NDArray[Any]) -> None:
        """Count pixels in.

        Args:
            image: (bands, rows, columns) raw values.
            times: (rows, columns) how often each pixel counts, or whether (bool); values that are not finite never do.
        """
        counts = np.bincount(times.ravel())
        for often in np.flatnonzero(counts[1:]) + 1:
            chosen = None if counts[often] == times.size else times == often
            for band, plane in enumerate(image):
                if plane.dtype == np.uint8:
                    self._histogram[band] += often * _histogram(plane, chosen)
                    continue
                values = plane.ravel() if chosen is None else plane[chosen]
                if self._whole:
                    places = values - np.int64(self._lowest) if self._lowest else values
                    self._histogram[band] += often * np.bincount(places, minlength=self._histogram.shape[1])
                else:
                    self._merge(band, values[np.isfinite(values)], int(often))

    def result(self) -> tuple[BandStatistics, ...]:
        """Statistics of each band; zeros for a band without any valid pixel."""
        return tuple(self._counted(band) if self._whole else self._merged(band) for band in range(len(self._samples)))

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything counted so far, to go on from with `restore`."""
        samples = {
            f"{part}_{band}": array for band, pair in enumerate(self._samples) for part, array in zip(("keys", "values"), pair, strict=True)
        }
        generator = np.array(json.dumps(self._rng.bit_generator.state))
        return {"histogram": self._histogram, "moments": self._moments, "generator": generator, **samples}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken; for statistics made with the same arguments."""
        self._histogram, self._moments = state["histogram"], state["moments"]
        self._samples = [(state[f"keys_{band}"], state[f"values_{band}"]) for band in range(len(self._samples))]
        self._rng.bit_generator.state = json.loads(str(state["generator"]))

    def _merge(self, band: int, values: NDArray[Any], often: int) -> None:
        if not values.size:
            return
        n_old, mean_old, m2_old, lowest, highest = self._moments[band].tolist()
        n_new, mean = values.size * often, float(values.mean(dtype=np.float64))
        m2 = often * float(np.square(values - mean, dtype=np.float64).sum())
        delta, total = mean - mean_old, n_old + n_new
        moments = mean_old + delta * n_new / total, m2_old + m2 + delta**2 * n_old * n_new / total
        self._moments[band] = total, *moments, min(lowest, float(values.min())), max(highest, float(values.max()))
        self._sample(band, values, often)

    def _sample(self, band: int, values: NDArray[Any], often: int) -> None:
        """Keep the values with the smallest random keys: a uniform sample of all seen so far.

        Once the sample is full, only keys below the largest in it matter, so only those are drawn: how many there are is binomial.
        """
        keys, kept = self._samples[band]
        limit = float(keys.max()) if keys.size == SAMPLE_SIZE else 1.0
        n = values.size * often
        drawn = np.arange(n) if limit == 1.0 else self._rng.choice(n, self._rng.binomial(n, limit), replace=False)
        keys = np.concatenate([keys, self._rng.random(drawn.size) * limit])
        kept = np.concatenate([kept, values[drawn // often].astype(np.float64)])
        if keys.size > SAMPLE_SIZE:
            keep = np.argpartition(keys, SAMPLE_SIZE)[:SAMPLE_SIZE]
            keys, kept = keys[keep], kept[keep]
        self._samples[band] = (keys, kept)

    def _counted(self, band: int) -> BandStatistics:
        places = np.flatnonzero(self._histogram[band])
        counts, values = self._histogram[band][places], places + self._lowest
        count = int(counts.sum())
        if count == 0:
            return _NOTHING
        mean = int((counts * values).sum()) / count
        std = float(np.sqrt((counts * np.square(values - mean)).sum() / count))
        p2, p98 = values[np.searchsorted(np.cumsum(counts), [0.02 * count, 0.98 * count])].tolist()
        return BandStatistics(min=float(values[0]), max=float(values[-1]), mean=mean, std=std, p2=float(p2), p98=float(p98), count=count)

    def _merged(self, band: int) -> BandStatistics:
        count, mean, m2, lowest, highest = self._moments[band].tolist()
        if count == 0:
            return _NOTHING
        p2, p98 = np.percentile(self._samples[band][1], [2, 98]).tolist()
        return BandStatistics(min=lowest, max=highest, mean=mean, std=float(np.sqrt(m2 / count)), p2=p2, p98=p98, count=int(count))


def _histogram(plane: NDArray[np.uint8], chosen: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """(256,) how often each value is among the chosen pixels; by Pillow, three times as fast as `bincount`."""
    mask = None if chosen is None else Image.fromarray(chosen.astype(np.uint8))
    return np.array(Image.fromarray(np.ascontiguousarray(plane)).histogram(mask), dtype=np.int64)


_NOTHING = BandStatistics(min=0, max=0, mean=0, std=0, p2=0, p98=0, count=0)


def pixels_per_class(label: NDArray[np.uint8]) -> dict[int, int]:
    """Pixels of each value in a label array, ascending; 255 (ignore) left out."""
    highest = int(label.max(initial=0))
    if highest <= FEW_VALUES:
        counts = np.array([np.count_nonzero(label == v) for v in range(highest + 1)])
    else:
        counts = np.bincount(label.ravel())[:255]
    return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
