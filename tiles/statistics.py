"""Band statistics over many tiles, one tile in memory at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.values import BandStatistics

SAMPLE_SIZE = 200_000


class RunningStatistics:
    """Minimum, maximum, mean, standard deviation and percentiles of each band, streamed.

    Mean and squared deviations are merged per tile (Chan, Golub and LeVeque 1979). Percentiles are exact for integers of up to 16
    bits (a histogram); otherwise they come from a uniform sample of 200,000 pixels (reservoir by random keys), seeded.
    """

    def __init__(self, bands: int, dtype: str, seed: int = 0) -> None:
        self._count = np.zeros(bands, dtype=np.int64)
        self._mean = np.zeros(bands)
        self._m2 = np.zeros(bands)
        self._min = np.full(bands, np.inf)
        self._max = np.full(bands, -np.inf)
        kind = np.dtype(dtype)
        whole = kind.kind in "iu" and kind.itemsize <= 2
        self._lowest = int(np.iinfo(kind).min) if whole else 0
        self._histogram = np.zeros((bands, 2 ** (8 * kind.itemsize)), dtype=np.int64) if whole else None
        self._samples = [(np.empty(0), np.empty(0)) for _ in range(bands)]
        self._rng = np.random.default_rng(seed)

    def add(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Count one tile in.

        Args:
            image: (bands, rows, columns) raw values.
            valid: (rows, columns); other pixels, and those that are not finite, are left out.
        """
        for band, plane in enumerate(image):
            values = plane[valid]
            if values.dtype.kind == "f":
                values = values[np.isfinite(values)]
            if values.size:
                self._merge(band, values)

    def result(self) -> tuple[BandStatistics, ...]:
        """Statistics of each band; zeros for a band without any valid pixel."""
        return tuple(self._band(band) for band in range(len(self._count)))

    def _merge(self, band: int, values: NDArray[Any]) -> None:
        n_old, n_new = int(self._count[band]), values.size
        mean = float(values.mean(dtype=np.float64))
        m2 = float(np.square(values - mean, dtype=np.float64).sum())
        delta = mean - self._mean[band]
        total = n_old + n_new
        self._mean[band] += delta * n_new / total
        self._m2[band] += m2 + delta**2 * n_old * n_new / total
        self._count[band] = total
        self._min[band] = min(self._min[band], float(values.min()))
        self._max[band] = max(self._max[band], float(values.max()))
        if self._histogram is not None:
            self._histogram[band] += np.bincount(values.astype(np.int64) - self._lowest, minlength=self._histogram.shape[1])
        else:
            self._sample(band, values)

    def _sample(self, band: int, values: NDArray[Any]) -> None:
        """Keep the values with the smallest random keys: a uniform sample of all seen so far."""
        keys = self._rng.random(values.size)
        old_keys, old_values = self._samples[band]
        keys, merged = np.concatenate([old_keys, keys]), np.concatenate([old_values, values.astype(np.float64)])
        if keys.size > SAMPLE_SIZE:
            keep = np.argpartition(keys, SAMPLE_SIZE)[:SAMPLE_SIZE]
            keys, merged = keys[keep], merged[keep]
        self._samples[band] = (keys, merged)

    def _band(self, band: int) -> BandStatistics:
        count = int(self._count[band])
        if count == 0:
            return BandStatistics(min=0, max=0, mean=0, std=0, p2=0, p98=0, count=0)
        p2, p98 = self._percentiles(band)
        return BandStatistics(
            min=float(self._min[band]),
            max=float(self._max[band]),
            mean=float(self._mean[band]),
            std=float(np.sqrt(self._m2[band] / count)),
            p2=p2,
            p98=p98,
            count=count,
        )

    def _percentiles(self, band: int) -> tuple[float, float]:
        if self._histogram is None:
            low, high = np.percentile(self._samples[band][1], [2, 98])
            return float(low), float(high)
        running = np.cumsum(self._histogram[band])
        low, high = np.searchsorted(running, [0.02 * running[-1], 0.98 * running[-1]])
        return float(low + self._lowest), float(high + self._lowest)


def pixels_per_class(label: NDArray[np.uint8]) -> dict[int, int]:
    """Pixels of each value in a label array, ascending; 255 (ignore) left out."""
    counts = np.bincount(label.ravel(), minlength=256)[:255]
    return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
