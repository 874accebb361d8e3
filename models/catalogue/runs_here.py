"""Can Terratune use a published model on this machine? Decided from what the code can load, told in plain words. No torch here."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.card import CARD_FILE
from models.catalogue.published import ENCODER_LOADERS, PROMPTABLE, PublishedModel
from models.download import is_address

State = Literal["yes", "import", "no"]
SAM_MEMORY_GB = {"sam-vit-h": 6.0}
"""What a checkpoint needs; the smaller ones run wherever Terratune does."""
SAM_FOLDER = "sam"
NOT_STATED = "not stated"
ARCGIS_NETWORKS = (
    "U-Net", "DeepLab", "PSPNet", "MultiTaskRoadExtractor", "ConnectNet", "Feature Classifier", "Mask R-CNN", "Faster R-CNN", "RetinaNet", "SSD"
)
"""That are built again from ArcGIS packages, as cards name them."""


@dataclass(frozen=True)
class RunsHere:
    """Whether, and why."""

    state: State
    """"import": once the file that its publisher gives out was brought in."""
    why: str

    @property
    def yes(self) -> bool:
        return self.state == "yes"


def runs_here(model: PublishedModel) -> RunsHere:
    """What can be done with `model` on this machine today."""
    if model.loader == "bundle":
        return RunsHere("yes", "Comes with Terratune: makes maps as it is, and is a base model to train on.")
    if model.is_encoder:
        what = "Its encoder is a base model to train on" if model.loader == "torchvision-backbone" else "A base model to train on"
        return RunsHere("yes", f"{what}; it knows no class until then.")
    if model.loader in ENCODER_LOADERS:
        return RunsHere("no", "Its card does not say how its numbers are scaled or which network they belong to, so they cannot be loaded.")
    if model.loader == "arcgis":
        return _of_arcgis(model)
    if model.loader in PROMPTABLE:
        return _promptable(model)
    return RunsHere("no", f"Terratune cannot build its network yet ({model.architecture or 'not stated'}).")


def held(model: PublishedModel, store: Path, mirror: str = "") -> Path | None:
    """Where it lies on this machine, ready for use; None where it was not fetched.

    Args:
        model: Which.
        store: Downloaded models (`<data folder>/models`).
        mirror: `Settings.weights_mirror`; a SAM checkpoint is used where it lies in a mirror folder.
    """
    if model.loader == "bundle":
        return Path(model.url).parent
    if model.is_encoder:
        return store / model.name if (store / model.name / CARD_FILE).exists() else None
    if model.loader in PROMPTABLE:
        folders = [store / SAM_FOLDER, *([Path(mirror)] if mirror and not is_address(mirror) else [])]
        return next((folder / model.file for folder in folders if (folder / model.file).is_file()), None)
    return None


def _of_arcgis(model: PublishedModel) -> RunsHere:
    """What its card says of its network decides; hearsay, and silence, do not."""
    where = "Download its .dlpk from its page (an ArcGIS account is needed), then bring it in below, in a project"
    network = "" if model.architecture == NOT_STATED else model.architecture
    hearsay = "architecture" in model.unconfirmed
    if network in ARCGIS_NETWORKS:
        return RunsHere("import", f"{where}. Its network ({'said to be ' if hearsay else ''}{network}) runs here where it stands on a plain ResNet.")
    if not network or hearsay:
        said = f"said to be {network}, which would not run here" if network else "not stated"
        return RunsHere("import", f"{where}: that tells what it is, and whether it runs. Its network is {said}.")
    return RunsHere("no", f"Its network ({network}) is none of ArcGIS's that Terratune can build. Its .dlpk can be described, not run.")


def _promptable(model: PublishedModel) -> RunsHere:
    if model.loader == "sam2" and not importlib.util.find_spec("sam2"):
        return RunsHere("no", "It needs the library sam2, which is not installed here (pip install sam2). With it, it answers clicks on the Label page.")
    if not importlib.util.find_spec("segment_anything"):
        return RunsHere("no", "The library segment-anything is not installed here.")
    needs, has = SAM_MEMORY_GB.get(model.name, 0.0), _memory_gb()
    if has < needs:
        return RunsHere("no", f"It needs about {needs:.0f} GB of memory; this machine has {has:.0f} GB.")
    return RunsHere("yes", "Answers clicks and boxes on the Label page (magic wand).")


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
