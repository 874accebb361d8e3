"""What can be chosen as a base model, in plain words. Reads cards only: no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from errors import BundleError, ModelNotFoundError
from models.architecture import Architecture
from models.card import CARD_FILE, ModelCard, bundle_folder, read_card

BUNDLES_FOLDER = Path(__file__).resolve().parent / "bundles"

Origin = Literal["bundled", "trained", "encoder"]


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder pretrained on photographs (ImageNet), published by timm, that is fetched on demand."""

    name: str
    title: str
    summary: str
    architecture: Architecture
    megabytes: float
    """Size of the download."""


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
    megabytes: float = 0.0


_ABOUT = "Knows shapes and textures from everyday photographs, but no class yet: needs more labels than a model that knows roads."
ENCODERS = (
    EncoderChoice("imagenet-resnet18d", "Photographs: ResNet-18-D", _ABOUT, Architecture(encoder="resnet18d"), 47),
    EncoderChoice("imagenet-resnet26d", "Photographs: ResNet-26-D", _ABOUT, Architecture(encoder="resnet26d"), 64),
    EncoderChoice(
        "imagenet-mobilenetv3-large",
        "Photographs: MobileNetV3 Large",
        _ABOUT,
        Architecture(encoder="mobilenetv3_large_100", encoder_levels=5),
        22,
    ),
    EncoderChoice(
        "imagenet-efficientnet-b0", "Photographs: EfficientNet-B0", _ABOUT, Architecture(encoder="efficientnet_b0", encoder_levels=5), 21
    ),
)


def list_models(project_models_folder: Path | None = None, store: Path | None = None) -> list[CatalogueEntry]:
    """All models that can be chosen: bundled ones, those trained in the project (newest first), pretrained encoders.

    Args:
        project_models_folder: `Project.models_folder`.
        store: Where fetched encoders lie (`<data folder>/models`).

    Folders whose card cannot be read are left out; `damaged_models` names them.
    """
    found = [_entry(folder, "bundled") for folder in _bundles(BUNDLES_FOLDER)]
    if project_models_folder is not None:
        folders = sorted(_bundles(project_models_folder), key=lambda f: (f / CARD_FILE).stat().st_mtime, reverse=True)
        found += [_entry(folder, "trained") for folder in folders]
    return [entry for entry in found if entry is not None] + [_encoder_entry(choice, store) for choice in ENCODERS]


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
        names = ", ".join(e.name for e in entries)
        raise ModelNotFoundError(f"There is no model '{name_or_folder}'.", f"Give the folder of a model, or one of these names: {names}.")
    if entry.folder is None:
        raise ModelNotFoundError(
            f"The model '{entry.title}' has not been downloaded yet.",
            "Start a training with it (that fetches it), or choose another model.",
        )
    return entry.folder


def find_encoder(name: str) -> EncoderChoice | None:
    """The pretrained encoder with this name; None when there is none."""
    return next((choice for choice in ENCODERS if choice.name == name), None)


def _bundles(parent: Path) -> list[Path]:
    return sorted(path.parent for path in parent.glob(f"*/{CARD_FILE}") if not path.parent.name.startswith("."))


def _entry(folder: Path, origin: Origin) -> CatalogueEntry | None:
    try:
        card = read_card(folder)
    except BundleError:
        return None
    return CatalogueEntry(folder.name, card.title, card.summary, origin, folder, card)


def _encoder_entry(choice: EncoderChoice, store: Path | None) -> CatalogueEntry:
    folder = None if store is None else store / choice.name
    if folder is not None and (folder / CARD_FILE).exists():
        entry = _entry(folder, "encoder")
        if entry is not None:
            return entry
    return CatalogueEntry(choice.name, choice.title, choice.summary, "encoder", None, None, choice.megabytes)
