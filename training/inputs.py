"""Do tiles and base model fit, and what will the new model read? No torch here: pages ask before anything starts."""

from __future__ import annotations

from errors import InputMismatchError, TooFewTilesError, TrainingError
from models.card import ModelCard, ModelInput, band_order
from tiles.reader import require_pixels
from tiles.tile_set import TileSet


def input_for(card: ModelCard, tile_set: TileSet, *, frozen: bool) -> ModelInput:
    """What the new model reads: bands, normalisation, resolution and tile size.

    A frozen backbone keeps the base model's bands; one that learns takes all bands of the tiles. The base model's mean and std are used where
    the numbers are of the same type, else the tile set's.

    Raises:
        InputMismatchError: the tiles lack a band that the frozen backbone needs.
    """
    record = tile_set.record
    known = dict(zip((n.casefold() for n in card.input.band_names), zip(card.input.mean, card.input.std, strict=True), strict=True))
    try:
        order = band_order(card.input, record.band_names)
        names = list(card.input.band_names)
        extra = [i for i in range(len(record.band_names)) if i not in order]
        if not frozen:
            names, order = names + [record.band_names[i] for i in extra], order + extra
    except InputMismatchError as error:
        if frozen:
            raise InputMismatchError(
                error.fact.replace("the imagery has", "the tiles have"),
                "Export tiles from imagery with these bands, choose another base model, or train 'Everything': then all bands are learnt anew.",
            ) from error
        names, order = list(record.band_names), list(range(len(record.band_names)))
    mean, std = [], []
    for name, i in zip(names, order, strict=True):
        statistics = record.band_statistics[i]
        own = known.get(name.casefold()) if record.dtype == card.input.dtype else None
        mean.append(own[0] if own else statistics.mean)
        std.append(own[1] if own else (statistics.std if statistics.std > 0 else 1.0))
    return ModelInput(
        band_names=tuple(names),
        dtype=record.dtype,
        mean=tuple(mean),
        std=tuple(std),
        resolution_m=record.resolution_m or card.input.resolution_m,
        tile_size=max(record.tile_sides),
    )


def check_enough(tile_set: TileSet) -> None:
    """Refuse a tile set that nothing can be learnt from, or scored on.

    Raises:
        TooFewTilesError: with what to label.
        TileSetFormatError: its format is for other programs; with what to export instead.
    """
    require_pixels(tile_set)
    if not tile_set.train or not tile_set.validation:
        side = "training" if not tile_set.train else "validation"
        raise TooFewTilesError(
            f"The tile set '{tile_set.name}' has {len(tile_set.train)} tiles for training and {len(tile_set.validation)} for validation; "
            f"{side} needs at least one.",
            "Label a few more objects in another part of the imagery, at least two tile widths away, and export again.",
        )
    names = {c.value: c.name for c in tile_set.record.classes}
    if not any(tile_set.record.class_pixels("train").get(value, 0) for value in names):
        known = " or ".join(f"'{name}'" for name in names.values()) or "a class"
        raise TooFewTilesError(
            f"No training tile of '{tile_set.name}' shows {known}.", "Label at least five examples in different places, and export again."
        )


def check_quick(title: str, knows_classes: bool) -> None:
    """Refuse to fit the last layer alone where what stands before it has learnt nothing yet.

    Raises:
        TrainingError: with what to choose instead.
    """
    if not knows_classes:
        raise TrainingError(
            f"'{title}' knows no class yet: a quick training fits the very last layer alone, and the layers before it have learnt nothing.",
            "Choose 'Thorough', or a base model that knows roads.",
        )


def check_replay(replay: TileSet, model_input: ModelInput) -> None:
    """Refuse reminder tiles that the model cannot read.

    Raises:
        InputMismatchError: other bands or another type of numbers.
        TooFewTilesError: it has no training tile.
        TileSetFormatError: its format is for other programs.
    """
    require_pixels(replay)
    band_order(model_input, replay.record.band_names)
    if replay.record.dtype != model_input.dtype:
        raise InputMismatchError(
            f"The reminder tiles '{replay.name}' are {replay.record.dtype}, the training tiles {model_input.dtype}.",
            "Choose reminder tiles cut from the same kind of imagery, or train without.",
        )
    if not replay.train:
        raise TooFewTilesError(f"The reminder tiles '{replay.name}' have no training tile.", "Choose another tile set, or train without.")
