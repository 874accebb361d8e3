"""What can be chosen as a base model: those that come with Terratune, the project's own, and published encoders. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import BundleError, ModelNotFoundError
from models.architecture import OnnxArchitecture
from models.card import CARD_FILE, ModelCard, bundle_folder, read_card
from models.catalogue.foreign import all_models
from models.catalogue.published import PublishedModel

BUNDLES_FOLDER = Path(__file__).resolve().parent.parent / "bundles"
USUAL = ("imagenet-resnet18d", "imagenet-mobilenetv3-large", "imagenet-efficientnet-b0", "dinov3-convnext-tiny", "imagenet-resnet18")
"""Encoders that are offered without having been fetched; the others are found on the Models page."""

Origin = Literal["bundled", "trained", "encoder"]


@dataclass(frozen=True)
class CatalogueEntry:
    """One line of the list of base models."""

    name: str
    title: str
    summary: str
    origin: Origin
    folder: Path | None
    """None: to be fetched first (`models.weights.fetch_encoder`)."""
    card: ModelCard | None
    """Of an encoder that is not here yet: the one that it will have."""
    published: PublishedModel | None = None
    """Of an encoder: its card in the catalogue."""

    @property
    def usual(self) -> bool:
        """Offered at once: it is here already, or one of the few encoders for everybody."""
        return self.folder is not None or self.name in USUAL

    @property
    def learns(self) -> bool:
        """Can it be trained on? What came as ONNX only predicts."""
        return self.card is None or not isinstance(self.card.architecture, OnnxArchitecture)


def list_models(project_models_folder: Path | None = None, store: Path | None = None) -> list[CatalogueEntry]:
    """All models that can be chosen: bundled ones, those trained in the project (newest first), published encoders.

    Args:
        project_models_folder: `Project.models_folder`.
        store: Where fetched encoders lie (`<data folder>/models`).

    Folders whose card cannot be read are left out; `damaged_models` names them.
    """
    found = [_entry(folder, "bundled") for folder in _bundles(BUNDLES_FOLDER)]
    if project_models_folder is not None:
        folders = sorted(_bundles(project_models_folder), key=lambda f: (f / CARD_FILE).stat().st_mtime, reverse=True)
        found += [_entry(folder, "trained") for folder in folders]
    encoders = [_encoder_entry(model, store) for model in all_models(store) if model.is_encoder]
    encoders.sort(key=lambda entry: (USUAL.index(entry.name) if entry.name in USUAL else len(USUAL), entry.title))
    return [entry for entry in found if entry is not None] + encoders


def damaged_models(project_models_folder: Path) -> list[str]:
    """Names of the project's model folders whose card cannot be read."""
    return sorted(folder.name for folder in _bundles(project_models_folder) if _entry(folder, "trained") is None)


def find_model(name_or_folder: str | Path, project_models_folder: Path | None = None, store: Path | None = None) -> Path:
    """The bundle folder of a model given by name, or by a folder (a bundle, or a training run that holds one).

    Raises:
        ModelNotFoundError: nothing has this name; the message lists the names. For a pretrained encoder: it was not fetched yet.
    """
    given = Path(name_or_folder)
    if (bundle_folder(given) / CARD_FILE).exists():
        return bundle_folder(given)
    entries = list_models(project_models_folder, store)
    entry = next((e for e in entries if e.name == str(name_or_folder)), None)
    if entry is None:
        names = ", ".join(e.name for e in entries if e.usual)
        raise ModelNotFoundError(
            f"There is no model '{name_or_folder}'.", f"Give the folder of a model, or a name: {names}, or another of the catalogue."
        )
    if entry.folder is None:
        raise ModelNotFoundError(
            f"The model '{entry.title}' has not been downloaded yet.",
            "Start a training with it (that fetches it), download it on the Models page, or choose another model.",
        )
    return entry.folder


def find_encoder(name: str, store: Path | None = None) -> PublishedModel | None:
    """The published encoder with this name; None when there is none."""
    return next((model for model in all_models(store) if model.is_encoder and model.name == name), None)


def _bundles(parent: Path) -> list[Path]:
    return sorted(path.parent for path in parent.glob(f"*/{CARD_FILE}") if not path.parent.name.startswith("."))


def _entry(folder: Path, origin: Origin) -> CatalogueEntry | None:
    try:
        card = read_card(folder)
    except BundleError:
        return None
    return CatalogueEntry(folder.name, card.title, card.summary, origin, folder, card)


def _encoder_entry(model: PublishedModel, store: Path | None) -> CatalogueEntry:
    folder = None if store is None else store / model.name
    entry = _entry(folder, "encoder") if folder is not None and (folder / CARD_FILE).exists() else None
    if entry is None:
        return CatalogueEntry(model.name, model.title, model.summary, "encoder", None, model.base_card(), model)
    return CatalogueEntry(entry.name, entry.title, entry.summary, "encoder", entry.folder, entry.card, model)
