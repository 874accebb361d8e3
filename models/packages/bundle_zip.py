"""A model bundle as one ZIP: its two files in a folder, and the card once more as a STAC item."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from errors import BundleError
from models.bundle import file_sha256
from models.card import CARD_FILE, WEIGHTS_FILE, ModelCard, read_card
from models.network import Network, build_network
from models.packages.archive import Archive, Member, open_archive
from models.packages.graph import parse_graph
from models.packages.onnx_network import OnnxNetwork
from models.packages.stac import ITEM_FILE, item_text
from models.packages.weights_file import check_finite, check_fits, safetensors_shapes
from workspace.files import folder_name, replaced_on_success

MOST_CARD_BYTES = 4 * 2**20
MOST_BANDS = 512


def write_zip(bundle: Path, file: Path) -> None:
    """Pack the bundle in the folder `bundle` as `file`.

    Raises:
        BundleError: its card cannot be read, or the weights are gone.
        DiskFullError: no room.
    """
    card = read_card(bundle)
    if not (bundle / WEIGHTS_FILE).is_file():
        raise BundleError(f"The model '{card.title}' has no {WEIGHTS_FILE}.", "Copy the whole folder again, or train the model again.")
    inside = folder_name(card.name)
    with replaced_on_success(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as package:
        package.write(bundle / CARD_FILE, f"{inside}/{CARD_FILE}")
        package.write(bundle / WEIGHTS_FILE, f"{inside}/{WEIGHTS_FILE}", zipfile.ZIP_STORED)
        package.writestr(f"{inside}/{ITEM_FILE}", item_text(card))


def unpack_zip(file: Path, folder: Path) -> None:
    """Write card and weights of a packed bundle into the empty folder `folder`; nothing else of it is.

    Raises:
        BundleError: it is none, damaged, or hostile.
        DiskFullError: no room.
    """
    with open_archive(file) as archive:
        card = _only(archive)
        weights = archive.beside(card, WEIGHTS_FILE)
        if weights is None:
            raise BundleError(f"{file.name} has a {CARD_FILE}, but no {WEIGHTS_FILE} beside it.", "Export the model again.")
        (folder / CARD_FILE).write_bytes(archive.read(card, MOST_CARD_BYTES))
        archive.unpack(weights, folder / WEIGHTS_FILE)


def checked_network(folder: Path, name: str) -> tuple[Network, ModelCard]:
    """The network of a bundle from elsewhere. Its card is believed nothing: what it says is compared with the weights before memory is taken for it.

    Args:
        folder: The bundle.
        name: For messages.

    Raises:
        BundleError: card and weights do not belong together, are damaged, or hold what is no number.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS_FILE
    if card.weights_sha256 and file_sha256(weights) != card.weights_sha256:
        raise BundleError(f"The weights in {name} are damaged: they are not the ones its {CARD_FILE} names.", "Copy or download the file again.")
    if len(card.input.band_names) > MOST_BANDS:
        raise BundleError(f"The card in {name} names {len(card.input.band_names):,} bands.", "Get the model again from its maker.")
    shapes = safetensors_shapes(weights, name)
    try:
        with torch.device("meta"):
            empty = build_network(card.architecture, len(card.input.band_names), card.outputs)
    except (RuntimeError, ValueError, ValidationError, ModuleNotFoundError) as error:
        raise BundleError(f"The network that the card in {name} describes cannot be built ({error}).", "Get the model again from its maker.") from error
    check_fits(shapes, empty.state_dict(), name)
    state = load_file(weights)
    check_finite(state, name)
    network = build_network(card.architecture, len(card.input.band_names), card.outputs)
    network.load_state_dict(state)
    if isinstance(network, OnnxNetwork):
        parse_graph(network.graph.numpy().tobytes(), name)
    return network.eval(), card


def _only(archive: Archive) -> Member:
    cards = [m for m in archive.members if m.path.name == CARD_FILE]
    if len(cards) != 1:
        found = "no model" if not cards else f"{len(cards)} models"
        raise BundleError(f"{archive.name} holds {found} ({CARD_FILE}).", "Choose a ZIP that was exported here, with one model in it.")
    return cards[0]
