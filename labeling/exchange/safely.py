"""Reading of files that nobody vouches for, in a process of its own with bounded memory and time.

`python -m labeling.exchange.safely OUT PATH ...` writes one Feather file a layer into OUT and prints one JSON line:
`{"layers": [...]}` or `{"error": class name, "fact": ..., "remedy": ...}`. A file that crashes GDAL, loops or eats memory ends this
process, not the server.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd

import errors
from errors import LabelError, LabelFileError
from labeling.exchange.layers import Layer, VectorFile

MEMORY_BYTES = 4 * 2**30
"""Address space of the process; its own libraries take about 1 GiB of it."""
SECONDS = 120.0
_REPOSITORY = Path(__file__).resolve().parents[2]


def read_safely(paths: Sequence[Path], *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> VectorFile:
    """As `labeling.exchange.read.read_file`, in a process of its own.

    Args:
        paths: Files that were chosen together.
        seconds: Longest time for all of them.
        memory_bytes: Most address space of the reading process.

    Raises:
        LabelFileError: it cannot be read as vector data, takes too long or too much memory.
    """
    name = paths[0].name if len(paths) == 1 else f"{len(paths)} files"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "labeling.exchange.safely", "--memory", str(memory_bytes), "--", folder, *map(str, paths)]
        try:
            process = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, cwd=_REPOSITORY, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabelFileError(f"{name} takes too long to read.", "Cut it to your area, or save it as GeoPackage or FlatGeobuf.") from error
        try:
            answer = json.loads(process.stdout)
        except ValueError as error:
            raise _crashed(name) from error
        if "error" in answer:
            kind = getattr(errors, answer["error"])
            raise kind(answer["fact"], answer["remedy"])
        return VectorFile(answer["name"], tuple(_layer(one, Path(folder)) for one in answer["layers"]))


def _layer(about: dict, folder: Path) -> Layer:
    notes = {what: tuple(rows) for what, rows in about["notes"].items()}
    table = gpd.read_feather(folder / about["file"])
    return Layer(about["name"], table, about["crs"], about["assumed"], about["pixels"], notes)


def _crashed(name: str) -> LabelFileError:
    return LabelFileError(
        f"{name} could not be read: it needs too much memory, or is damaged.", "Cut it to your area, or save it again as GeoPackage."
    )


def _answer(folder: Path, paths: Sequence[Path]) -> str:
    from labeling.exchange.read import read_file

    try:
        file = read_file(paths)
        layers = []
        for i, layer in enumerate(file.layers):
            layer.table.to_feather(folder / f"{i}.feather")
            layers.append({"file": f"{i}.feather"} | {name: getattr(layer, name) for name in ("name", "crs", "assumed", "pixels", "notes")})
        return json.dumps({"name": file.name, "layers": layers})
    except (LabelError, MemoryError) as error:
        reason = error if isinstance(error, LabelError) else _crashed(paths[0].name)
        return json.dumps({"error": type(reason).__name__, "fact": reason.fact, "remedy": reason.remedy})


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the files on the command line."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m labeling.exchange.safely", description="Read vector files into Feather files.")
    parser.add_argument("folder", type=Path, help="an empty folder for the layers")
    parser.add_argument("paths", type=Path, nargs="+", help="files chosen together")
    parser.add_argument("--memory", type=int, default=MEMORY_BYTES, help="most address space, bytes")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(_answer(options.folder, options.paths))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
