"""First look at rasters that nobody vouches for, in a process of its own with bounded memory and time.

`python -m imagery.inspect PATH_OR_URL ...` prints one JSON line for each: `{"info": ..., "stretch": ...}` or
`{"error": class name, "fact": ..., "remedy": ...}`. A file that crashes GDAL, loops or eats memory ends this process, not the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import errors
from errors import ImageryError, UnreadableRasterError, UnsupportedRasterError
from imagery.limits import file_size
from imagery.raster import RasterInfo, describe, parse_crs, verify_pixels
from imagery.read import display_name, open_raster
from imagery.stretch import Stretch, default_stretch

MEMORY_BYTES = 4 * 2**30
"""Address space of the process; its own libraries take about 1 GiB of it."""
SECONDS_EACH = 60.0
_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Inspection:
    """What adding a raster needs to know."""

    info: RasterInfo
    stretch: Stretch
    """For `info.colour_bands`."""


def inspect_safely(
    sources: Sequence[str],
    crs_override: str | None = None,
    *,
    allow_private: bool = False,
    seconds_each: float = SECONDS_EACH,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[Inspection | ImageryError]:
    """Inspect each source; yield what it is, or the reason why it cannot be used, in order.

    Args:
        sources: Absolute paths or http(s) URLs.
        crs_override: See `imagery.raster.inspect_raster`.
        allow_private: Whether URLs may lead to private addresses.
        seconds_each: Longest time for one raster.
        memory_bytes: Most address space of the inspecting process.
    """
    if crs_override:
        parse_crs(crs_override)
    rest = list(sources)
    while rest:
        with _process(rest, crs_override, allow_private, memory_bytes) as lines:
            while rest:
                try:
                    line = lines.next(seconds_each)
                except TimeoutError:
                    yield _too_slow(rest.pop(0))
                    break
                source = rest.pop(0)
                if line is None:
                    yield _crashed(source)
                    break
                yield _parsed(line)


def inspect_one(source: str, crs_override: str | None = None, *, allow_private: bool = False) -> Inspection:
    """Inspect one raster in a process of its own.

    Raises:
        ImageryError: it cannot be used.
    """
    result = next(inspect_safely([source], crs_override, allow_private=allow_private))
    if isinstance(result, ImageryError):
        raise result
    return result


def inspect_here(source: str, crs_override: str | None, allow_private: bool) -> Inspection:
    """Facts, a try at the pixels, and the default stretch, in this process. Errors as `inspect_raster`."""
    with open_raster(source, allow_private=allow_private) as dataset:
        info = describe(dataset, display_name(source), file_size(source), crs_override)
        verify_pixels(dataset, display_name(source))
        return Inspection(info, default_stretch(dataset, info.colour_bands))


@contextlib.contextmanager
def _process(sources: Sequence[str], crs_override: str | None, allow_private: bool, memory_bytes: int) -> Iterator[_Lines]:
    """Run the inspecting process; yield its lines. It is ended with the block."""
    command = [sys.executable, "-m", "imagery.inspect", "--memory", str(memory_bytes), "--crs", crs_override or ""]
    command += ["--allow-private"] * allow_private
    process = subprocess.Popen(
        [*command, "--", *sources], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=_REPOSITORY, bufsize=0
    )
    assert process.stdout is not None
    try:
        yield _Lines(process.stdout.fileno())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Lines:
    """Lines from a pipe, each waited for at most so long."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = b""

    def next(self, timeout_s: float) -> str | None:
        """The next line; None at the end.

        Raises:
            TimeoutError: none came in time.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._held:
            readable, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                return None
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()


def _parsed(line: str) -> Inspection | ImageryError:
    answer = json.loads(line)
    if "info" in answer:
        return Inspection(RasterInfo.model_validate(answer["info"]), Stretch.model_validate(answer["stretch"]))
    kind = getattr(errors, answer["error"])
    result: ImageryError = kind(answer["fact"], answer["remedy"])
    return result


def _too_slow(source: str) -> ImageryError:
    return UnsupportedRasterError(
        f"{display_name(source)} takes too long to open.",
        "Save it as a tiled GeoTIFF with overviews (a cloud-optimised GeoTIFF) and add that.",
    )


def _crashed(source: str) -> ImageryError:
    return UnreadableRasterError(
        f"{display_name(source)} could not be opened: it needs too much memory, or is damaged.",
        "Get it again from its source, or save it as a tiled GeoTIFF with overviews.",
    )


def _answer(source: str, crs_override: str | None, allow_private: bool) -> str:
    try:
        found = inspect_here(source, crs_override, allow_private)
    except (ImageryError, MemoryError) as error:
        reason = error if isinstance(error, ImageryError) else _crashed(source)
        return json.dumps({"error": type(reason).__name__, "fact": reason.fact, "remedy": reason.remedy})
    return f'{{"info": {found.info.model_dump_json()}, "stretch": {found.stretch.model_dump_json()}}}'


def main(arguments: Sequence[str] | None = None) -> None:
    """Inspect the sources on the command line."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m imagery.inspect", description="Say what rasters are, one JSON line each.")
    parser.add_argument("sources", nargs="+", help="absolute paths or http(s) addresses")
    parser.add_argument("--crs", default="", help="EPSG code to use instead of the file's own")
    parser.add_argument("--memory", type=int, default=MEMORY_BYTES, help="most address space, bytes")
    parser.add_argument("--allow-private", action="store_true", help="open private addresses too")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for source in options.sources:
        sys.stdout.write(_answer(source, options.crs or None, options.allow_private) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
