"""A model out of a file, or into one, whatever the format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from errors import BundleError, UnsupportedModelError
from models.bundle import file_sha256, load_bundle, save_bundle
from models.card import CARD_FILE, ModelCard, bundle_folder, read_card
from models.network import Network
from models.packages.archive import open_archive
from models.packages.bundle_zip import checked_network, unpack_zip, write_zip
from models.packages.dlpk import read_arcgis, write_dlpk
from models.packages.formats import IMPORTED, Format, cannot_be
from models.packages.onnx_in import read_onnx
from models.packages.onnx_out import write_onnx

Found = tuple[Network, ModelCard, list[str]]


@dataclass(frozen=True)
class Imported:
    """What came out of a file."""

    card: ModelCard
    folder: Path
    notes: tuple[str, ...]
    """What had to be guessed or changed, a sentence each."""


def import_model(file: Path, out: Path) -> Imported:
    """Make a model bundle of a file. Nothing in the file is ever executed.

    Args:
        file: .zip (a bundle), .dlpk or .emd (ArcGIS; weights beside the .emd), or .onnx.
        out: Folder of the new bundle, which must not exist yet; its name becomes that of the model.

    Raises:
        UnsupportedModelError: a sound file, but a kind of model that cannot run here; the message tells what it is.
        BundleError: the file is damaged, hostile, or of another kind.
        DiskFullError: no room; nothing was written.
    """
    if not file.is_file():
        raise BundleError(f"There is no file {file.name}.", "Check the path.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out.name} exists already.", "Choose a new folder.")
    network, card, notes = _read(file)
    provenance = card.provenance.model_copy(update={"package": file.name, "package_sha256": file_sha256(file)})
    card = save_bundle(out, network, card.model_copy(update={"name": out.name, "provenance": provenance}))
    return Imported(card, out, tuple(notes))


def export_model(bundle: Path, form: Format, file: Path) -> None:
    """Write a model bundle as one file.

    Args:
        bundle: Its folder, or a training run that holds one.
        form: In which format.
        file: What to write; replaced only when it is complete.

    Raises:
        UnsupportedModelError: the format cannot hold this model; the message says why and what else there is.
        BundleError: the bundle is damaged.
        DiskFullError: no room.
    """
    folder = bundle_folder(bundle)
    file.parent.mkdir(parents=True, exist_ok=True)
    if form == "bundle":
        write_zip(folder, file)
        return
    card = read_card(folder)
    if why_not := cannot_be(card, form):
        raise UnsupportedModelError(why_not, "Export it as a bundle.")
    if form == "dlpk":
        write_dlpk(load_bundle(folder, Network), file)
    else:
        write_onnx(load_bundle(folder), file)


def _read(file: Path) -> Found:
    reader = _READERS.get(file.suffix.casefold())
    if reader is None:
        raise BundleError(
            f"{file.name} is no file that holds a model here.", f"Choose one of these kinds: {', '.join(IMPORTED)}. Of an ArcGIS model choose the .dlpk or .emd."
        )
    return reader(file)


def _read_zip(file: Path) -> Found:
    """A bundle; or a folder that ArcGIS wrote, packed by hand."""
    with open_archive(file) as archive:
        if not any(m.path.name == CARD_FILE for m in archive.members) and archive.ending(".emd"):
            return read_arcgis(file)
    with tempfile.TemporaryDirectory(prefix="terratune-") as folder:
        unpack_zip(file, Path(folder))
        return *checked_network(Path(folder), file.name), []


_READERS: dict[str, Callable[[Path], Found]] = {".zip": _read_zip, ".dlpk": read_arcgis, ".emd": read_arcgis, ".onnx": read_onnx}
