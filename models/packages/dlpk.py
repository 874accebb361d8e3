"""ArcGIS packages (.dlpk: a ZIP of definition and weights) and loose .emd + .pth, in and out.

No program code of a package is ever looked at: the network is built here, from the definition.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from errors import BundleError
from models.arcgis.card import architecture_of, card_of, check_counts, definition_of
from models.arcgis.definition import MOST_BYTES, Definition, parse_definition
from models.arcgis.networks import build_arcgis, counts, from_arcgis, spelt_as_now, to_arcgis
from models.architecture import AnyArcGIS
from models.bundle import ModelBundle
from models.card import ModelCard
from models.network import Network
from models.packages.archive import Archive, Member, open_archive
from models.packages.weights_file import check_finite, check_fits, load_state
from workspace.files import replaced_on_success

WEIGHTS = (".pth", ".pt")
SECOND_ANSWERS = tuple(f"decoder.aux.{layer}{part}" for layer in ("4.", "") for part in ("weight", "bias"))
"""The last layers of what DeepLab and PSPNet are taught beside their answer."""


def read_definition(file: Path) -> Definition:
    """The model definition of a .dlpk or .emd file.

    Raises:
        BundleError: there is none, or it is malformed.
    """
    if file.suffix.casefold() == ".emd":
        return parse_definition(_small(file), file.name)
    with open_archive(file) as archive:
        return parse_definition(archive.read(member := _only_definition(archive), MOST_BYTES), str(member.path))


def read_arcgis(file: Path) -> tuple[Network, ModelCard, list[str]]:
    """A network, its card and what there is to say of them, from a .dlpk, or from an .emd with its weights beside it.

    Raises:
        UnsupportedModelError: a kind of network that cannot run here; the message tells what it is.
        BundleError: something is missing, damaged, or hostile.
    """
    with _opened(file) as (definition, weights):
        state = None if weights is None else load_state(weights, definition.model_file or weights.name)
    architecture = architecture_of(definition, _shapes(state or {}))
    if state is None:
        raise BundleError(
            f"{file.name} names its weights '{definition.model_file}', which are not there.", "Keep the .emd and the .pth in one folder, or import the .dlpk."
        )
    card, notes = card_of(definition, architecture, file.stem)
    return _network(architecture, definition, card, state, file.name), card, notes


def write_dlpk(bundle: ModelBundle[Network], file: Path) -> None:
    """Write a package that ArcGIS can open, for a network that it can build.

    Raises:
        UnsupportedModelError: ArcGIS cannot run this model; the message says why and what else there is.
        DiskFullError: no room.
    """
    architecture, stem = bundle.card.architecture, file.stem
    definition = definition_of(bundle.card, stem)
    assert isinstance(architecture, AnyArcGIS)
    state = to_arcgis(architecture, _for_arcgis(bundle))
    with replaced_on_success(file) as temporary, tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{stem}.") as folder:
        weights = Path(folder) / "weights"
        torch.save(state, weights)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr(f"{stem}.emd", json.dumps(definition, indent=4))
            package.write(weights, f"{stem}.pth", zipfile.ZIP_STORED)


def _network(architecture: AnyArcGIS, definition: Definition, card: ModelCard, state: Mapping[str, Tensor], name: str) -> Network:
    check_counts(definition, *counts(architecture, _shapes(state)))
    try:
        network = build_arcgis(architecture, len(card.input.band_names), card.outputs)
    except ValueError as error:
        raise BundleError(f"The network that {name} describes cannot be built: {error}.", "Get it again from the model's maker.") from error
    ours = network.state_dict()
    wanted = to_arcgis(architecture, ours)
    there = spelt_as_now(architecture, state, wanted)
    check_fits(_shapes(there), wanted, name)
    found = from_arcgis(architecture, there, ours)
    check_finite(found, name)
    network.load_state_dict(found)
    return network.eval()


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _for_arcgis(bundle: ModelBundle[Network]) -> dict[str, Tensor]:
    """The network's weights. A second answer, which is not learnt here, gets as many outputs as the first, all of them silent."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.network.state_dict().items()}
    for name in SECOND_ANSWERS:
        aux = state.get(name)
        if aux is not None and len(aux) != bundle.network.outputs:
            state[name] = aux.new_zeros(bundle.network.outputs, *aux.shape[1:])
    return state


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Definition, Path | None]]:
    """The definition, and where its weights lie meanwhile; None where there are none."""
    if file.suffix.casefold() == ".emd":
        definition = parse_definition(_small(file), file.name)
        named = Path(definition.model_file.replace("\\", "/")).name  # weights elsewhere on this machine are not the package's to open
        beside = [path for path in file.parent.iterdir() if path.name.casefold() == named.casefold() and path.is_file() and not path.is_symlink()]
        yield definition, beside[0] if beside else None
        return
    with open_archive(file) as archive, tempfile.TemporaryDirectory(prefix="terratune-") as folder:
        member = _only_definition(archive)
        definition = parse_definition(archive.read(member, MOST_BYTES), str(member.path))
        found = _weights(archive, member, definition)
        if found is None:
            yield definition, None
            return
        target = Path(folder) / "weights"
        archive.unpack(found, target)
        yield definition, target


def _only_definition(archive: Archive) -> Member:
    found = archive.ending(".emd")
    if not found:
        raise BundleError(f"{archive.name} holds no model definition (.emd).", "Choose a package that ArcGIS wrote.")
    best = [m for m in found if len(m.path.parts) == 1 and m.path.stem.casefold() == Path(archive.name).stem.casefold()]
    if len(found) > 1 and not best:
        raise BundleError(
            f"{archive.name} holds {len(found)} model definitions: {', '.join(str(m.path) for m in found[:5])}.", "Unpack it and import the one you want."
        )
    return (best or found)[0]


def _weights(archive: Archive, definition_file: Member, definition: Definition) -> Member | None:
    named = archive.beside(definition_file, definition.model_file) if definition.model_file else None
    others = archive.ending(*WEIGHTS)
    return named if named is not None and named.path.suffix.casefold() in WEIGHTS else others[0] if len(others) == 1 else None


def _small(file: Path) -> bytes:
    if file.stat().st_size > MOST_BYTES:
        raise BundleError(f"{file.name} is too large for a model definition.", "Choose the .emd file.")
    return file.read_bytes()
