"""What a run keeps: the best model so far with its card and scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.adapters import merged
from models.bundle import load_bundle, save_bundle
from models.card import CARD_FILE, BaseReference, ModelCard, Score
from models.network import Network
from models.provenance import Provenance, code_version
from tiles.manifest import MANIFEST_FILE
from tiles.tile_set import TileSet
from training.checkpoint import Progress
from training.learner import Learner
from training.run_folder import MODEL, RESULT
from training.settings import TrainingSettings
from workspace.files import folder_name, write_json

LEARNT = {
    "all_but_last_layer": "only its last layer fitted.",
    "features": "backbone frozen, each tile looked at once.",
    "backbone": "backbone frozen.",
    "adapters": "backbone frozen but for small additions to its attention.",
    "ladder": "step by step.",
    "nothing": "everything learning.",
}


def publish(folder: Path, settings: TrainingSettings) -> None:
    """Copy the best model so far to where `publish_to` says."""
    if settings.publish_to and (folder / MODEL / CARD_FILE).exists():
        bundle, place = load_bundle(folder / MODEL, Network), Path(settings.publish_to)
        save_bundle(place, bundle.network, bundle.card.model_copy(update={"name": place.name}))


def keep_best(
    folder: Path, ready: Learner, progress: Progress, found: tuple[Score, ...], settled_as: TrainingSettings | None = None
) -> None:
    """Save the network as it is, with its scores, as the run's model; `settled_as`: the settings with nothing left open."""
    save_bundle(folder / MODEL, merged(ready.network), new_card(settled_as or ready.settings, ready, progress, found))
    write_json(
        folder / RESULT,
        {
            "best_epoch": progress.best_epoch,
            "before": [s.model_dump(by_alias=True) for s in ready.before],
            "after": [s.model_dump(by_alias=True) for s in found],
            "old_classes": list(ready.old_classes),
            "training_tiles": len(ready.train),
            "held_out_tiles": len(ready.validation),
        },
    )


def new_card(settings: TrainingSettings, ready: Learner, progress: Progress, found: tuple[Score, ...]) -> ModelCard:
    """The card of the network as it is."""
    tile_set, base = ready.tile_set, ready.base
    title = settings.name or f"{tile_set.name}, from {base.title}"
    old = f" Base model: {base.title} ({base.training_data})" if base.training_data else f" Base model: {base.title}."
    return ModelCard(
        name=folder_name(title),
        title=title,
        summary=f"{ready.finds} {' and '.join(ready.class_names)}. Fine-tuned from '{base.title}', " + LEARNT[settings.freeze],
        architecture=ready.architecture,
        input=ready.input,
        classes=ready.classes,
        licence=base.licence,
        training_data=f"Tile set '{tile_set.name}': {len(ready.train)} tiles to learn from, {len(ready.validation)} {ready.held_out_on}.{old}",
        made_by=f"python -m training.run; {_how(settings, progress)}, seed {settings.seed}",
        scores=found,
        base=BaseReference(name=base.name, weights_sha256=base.weights_sha256),
        provenance=Provenance(tile_set_sha256=_tile_set_sha256(tile_set), code_version=code_version(), seed=settings.seed),
    )


def _tile_set_sha256(tile_set: TileSet) -> str:
    """Of its manifest, which stands for every picture and label; of its record, where it came without one."""
    manifest = tile_set.folder / MANIFEST_FILE
    return hashlib.sha256(manifest.read_bytes() if manifest.is_file() else tile_set.record.model_dump_json().encode()).hexdigest()


def _how(settings: TrainingSettings, progress: Progress) -> str:
    if settings.freeze == "all_but_last_layer":
        return "last layer fitted at once"
    rate, size = settings.learning_rate, settings.batch_size
    return f"epoch {progress.best_epoch} of {settings.epochs}, learning rate {rate:g}, batches of {size}"


