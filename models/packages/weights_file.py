"""Weights from elsewhere: tensors and nothing else, read without running anything that a file may hold."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from errors import BundleError
from models.packages.archive import open_archive

AGAIN = "Copy or download the file again, or ask its maker for a sound one."


def load_state(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a .pth file; a training's own wrapping ({"model": ..., "opt": ...}) is taken off.

    Raises:
        BundleError: it is damaged, or holds anything but tensors (code, for instance).
    """
    if zipfile.is_zipfile(path):
        with open_archive(path, name):
            pass  # a .pth is a ZIP, too: one that would unpack to far too much is refused here
    try:
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(
            f"{name} holds more than weights: it asks for program code to be run when it is opened, and was not.",
            "Do not use it; ask its maker for a file that holds weights alone.",
        ) from error
    except Exception as error:  # a damaged file fails in many ways: zipfile, EOF, struct, runtime
        raise BundleError(f"{name} is damaged: the weights cannot be read ({_first_line(error)}).", AGAIN) from error
    state = found["model"] if isinstance(found, dict) and isinstance(found.get("model"), dict) else found
    if not isinstance(state, Mapping) or not state or not all(_is_plain(v) for v in state.values()):
        raise BundleError(f"{name} does not hold the weights of a network.", "Choose the file that the model definition names.")
    return {str(key): value for key, value in state.items()}


def check_fits(shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor], name: str) -> None:
    """Are these exactly the names and sizes of the tensors of a network, which are `wanted`?

    Raises:
        BundleError: with the first difference.
    """
    expected = {key: tuple(value.shape) for key, value in wanted.items()}
    remedy = "The description and the weights do not belong together: get both again from the model's maker."
    if missing := [key for key in expected if key not in shapes]:
        raise BundleError(f"{name}: the weights lack {missing[0]}{_and_others(missing)}.", remedy)
    if surplus := [key for key in shapes if key not in expected]:
        raise BundleError(f"{name}: the weights hold {surplus[0]}{_and_others(surplus)}, which the network does not have.", remedy)
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise BundleError(f"{name}: {key} is {_size(shapes[key])}, where the description asks for {_size(shape)}.", remedy)


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """
    Raises:
        BundleError: a weight is not a number or infinite.
    """
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BundleError(
                f"{name}: some weights are no numbers ({key}).", "A training that went wrong leaves such files; use an earlier state of the model."
            )


def safetensors_shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes, from the file's head alone.

    Raises:
        BundleError: it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{name} is damaged: the weights cannot be read ({_first_line(error)}).", AGAIN) from error


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu" and not (value.is_complex() or value.is_quantized)


def _and_others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
