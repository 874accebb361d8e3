"""Do tiles and base model fit, and what will the new model read? No torch here: pages ask before anything starts."""

from __future__ import annotations

import math

from errors import InputMismatchError, TooFewTilesError, TrainingError
from models.architecture import ROAD_MODELS, AnyArchitecture, ArcGISArchitecture, is_transformer, resnet_of
from models.bands import meanings, pair_names, unnamed
from models.card import RESOLUTION_FACTOR, ModelCard, ModelInput, band_order
from models.values import ONE_UNIT, unlikeness
from tiles.apart import clear_of
from tiles.reader import require_pixels
from tiles.resolution import resolution_range_m
from tiles.tile_set import TileRecord, TileSet
from training.settings import TrainingSettings
from training.tasks import FRESH, kind_of, require_learnable, starts_from_nothing

MIXABLE = ("cross_entropy", "focal")
"""Losses that count pixel by pixel, so that a pixel may have two classes."""


def input_for(card: ModelCard, tile_set: TileSet, *, frozen: bool) -> ModelInput:
    """What the new model reads: bands, normalisation, resolution and tile size.

    A frozen backbone keeps the base model's bands; one that learns takes all bands of the tiles. The base model's mean and std are used where
    the numbers are of the same type and in the same range, else the tile set's (`measured_anew`).

    Raises:
        InputMismatchError: the tiles lack a band that the frozen backbone needs.
    """
    record = tile_set.record
    known: dict[str, tuple[float, float]] = {}
    if _reads_raw(card):
        known = dict.fromkeys(meanings(record.seen_bands), (0.0, 1.0))
    elif not measured_anew(card, tile_set):
        known = dict(zip(meanings(card.input.band_names), zip(card.input.mean, card.input.std, strict=True), strict=True))
    try:
        order = band_order(card.input, record.seen_bands)
        names = list(card.input.band_names)
        extra = [i for i in range(len(record.seen_bands)) if i not in order]
        if not frozen:
            names, order = names + [record.seen_bands[i] for i in extra], order + extra
    except InputMismatchError as error:
        if frozen:
            raise InputMismatchError(
                error.fact.replace("the imagery has", "the tiles have"),
                "Export tiles from imagery with these bands, choose another base model, or train 'Everything': then all bands are learnt anew.",
            ) from error
        names, order = list(record.seen_bands), list(range(len(record.seen_bands)))
    if record.second is not None:
        names, order = _both_dates(names, order, len(record.band_names))
    mean, std = [], []
    for meaning, i in zip(meanings(names), order, strict=True):
        statistics = record.seen_statistics[i]
        own = known.get(meaning)
        mean.append(own[0] if own else statistics.mean)
        std.append(own[1] if own else (statistics.std if statistics.std > 0 else 1.0))
    return ModelInput(
        band_names=tuple(names),
        dtype=record.dtype,
        mean=tuple(mean),
        std=tuple(std),
        resolution_m=record.resolution_m or card.input.resolution_m,
        tile_size=max(record.tile_sides),
        statistics=tuple(record.seen_statistics[i] for i in order),
        nodata=record.nodata,
        crs=record.crs,
    )


def _reads_raw(card: ModelCard) -> bool:
    """Road models of ArcGIS are shown the values as they are: only so can they go back."""
    return isinstance(card.architecture, ArcGISArchitecture) and card.architecture.leads


def _both_dates(names: list[str], order: list[int], bands: int) -> tuple[list[str], list[int]]:
    """Bands of pairs, those of the earlier image first, then the same ones of the later image.

    Args:
        names: Of the bands.
        order: Where each is among all bands of a tile.
        bands: Of the first image.
    """
    earlier, later = ([(name, i) for name, i in zip(names, order, strict=True) if (i >= bands) == second] for second in (False, True))
    if pair_names([name for name, _ in earlier]) != tuple(name for name, _ in (*earlier, *later)):
        raise InputMismatchError(
            f"The two images of each pair have different bands: {', '.join(name for name, _ in earlier)} and {', '.join(name for name, _ in later)}.",
            "Export pairs of pictures with the same bands, named alike on the Imagery page.",
        )
    return [name for name, _ in (*earlier, *later)], [i for _, i in (*earlier, *later)]


def measured_anew(card: ModelCard, tile_set: TileSet) -> str:
    """Why mean and deviation are taken from the tiles and not from the base model, in plain words; empty where the base model's serve."""
    record = tile_set.record
    if _reads_raw(card):
        return ""
    if record.dtype != card.input.dtype:
        return f"These tiles are {record.dtype}, the base model learnt from {card.input.dtype}: their brightness is measured anew."
    try:
        order = band_order(card.input, record.seen_bands)
    except InputMismatchError:
        return ""
    unlike = None if record.dtype in ONE_UNIT else unlikeness(card.input.ranges, [record.seen_statistics[i].range for i in order])
    if unlike is None:
        return ""
    return "The values of these tiles lie in another range than those that the base model learnt from: their brightness is measured anew."


def warnings_on(card: ModelCard | None, tile_set: TileSet) -> list[str]:
    """What to know about these tiles before training, each with what to do about it; with the base model's card also how far they are from it."""
    found = []
    if card is not None and card.name == FRESH:
        found.append(
            "Nothing of the base model can be used for this network: it starts from nothing and learns from these tiles alone, which wants hundreds of "
            "them and many epochs. A base model with a plain ResNet (Models page) brings what it knows along."
        )
    names, wanted = tile_set.record.seen_bands, card.input.band_names if card else ("red", "green", "blue")
    if unnamed(names) and not unnamed(wanted):
        found.append(
            f"The tiles do not name their bands; they are taken in order as {', '.join(wanted)}. "
            "If that is wrong, say on the Imagery page what the bands are, and export again."
        )
    sizes = resolution_range_m(tile_set.record)
    if sizes is None:
        return found
    finest, coarsest = sizes
    if coarsest / finest > RESOLUTION_FACTOR:
        found.append(
            f"These tiles are cut from imagery of {finest:.2g} to {coarsest:.2g} m per pixel: the same thing is of another size in each, which "
            "makes it hard to learn. Export all with one 'Ground size of a pixel', or only images of one kind."
        )
    base, middle = card.input.resolution_m if card else None, math.sqrt(finest * coarsest)
    if base is not None and not 1 / RESOLUTION_FACTOR <= middle / base <= RESOLUTION_FACTOR:
        kind, way_out = (
            ("coarser", "Train 'Everything', or choose another base model.")
            if middle > base
            else ("finer", f"Export them with 'Ground size of a pixel' at about {base:.2g} m, or train 'Everything'.")
        )
        found.append(
            f"These tiles ({middle:.2g} m per pixel) are much {kind} than what the base model learnt from ({base:.2g} m): "
            f"what it knows helps little. {way_out}"
        )
    return found


def check_enough(tile_set: TileSet) -> None:
    """Refuse a tile set that nothing can be learnt from, or scored on.

    Raises:
        TooFewTilesError: with what to label.
        TileSetFormatError: it has no labels; with what to export instead.
    """
    require_learnable(tile_set)
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


def check_choices(settings: TrainingSettings, architecture: AnyArchitecture) -> None:
    """Refuse what only models that tell a class for each pixel, or transformers, can do.

    Raises:
        TrainingError: with what to choose instead.
    """
    if settings.freeze == "adapters" and not is_transformer(architecture):
        raise TrainingError(
            f"The base model's backbone ({architecture.encoder}) is no transformer: it has no attention that small additions could be made to.",
            "Choose 'Thorough'.",
        )
    if kind_of(architecture) == "pixels":
        _check_mixup(settings, architecture)
        return
    if settings.freeze == "features":
        raise TrainingError("A brisk training is for models that tell a class for each pixel.", "Choose 'Thorough'.")
    if settings.freeze == "all_but_last_layer":
        raise TrainingError(
            "A quick training fits a last layer that tells a class for each pixel; this model has none.", "Choose 'Thorough'."
        )
    if settings.replay_tiles is not None:
        raise TrainingError(
            "Reminder tiles are only for models that tell a class for each pixel.",
            "Choose no reminder tiles, and train on all tiles at once.",
        )


def _check_mixup(settings: TrainingSettings, architecture: AnyArchitecture) -> None:
    if not settings.mixup or settings.freeze == "all_but_last_layer":  # fitted at once, from the tiles as they are
        return
    if isinstance(architecture, ArcGISArchitecture) and architecture.model in ROAD_MODELS:
        raise TrainingError(
            "Mixup lays two tiles over one another; this network also learns which way each road leads, and two roads over one another lead no way.",
            "Switch Mixup off, or choose another network.",
        )
    if settings.loss not in MIXABLE:
        raise TrainingError(
            "Mixup lets each pixel have two classes at once; this loss counts the overlap of whole classes, which are not there then.",
            "Choose the loss 'Cross-entropy' or 'Focal' under More options, or switch Mixup off.",
        )


def check_start(settings: TrainingSettings, base: ModelCard, architecture: AnyArchitecture) -> None:
    """Refuse to freeze a backbone that knows nothing.

    Raises:
        TrainingError: with what to choose instead.
    """
    if not starts_from_nothing(base.architecture, architecture) or settings.freeze == "nothing":
        return
    if resnet_of(architecture) is None:
        raise TrainingError(
            "Stacked hourglasses have no backbone that another kind of model could give: the new model would start from nothing, and what knows nothing "
            "must not be kept as it is.",
            "Choose the roads' LinkNet and a base model with a plain ResNet; or import such a road model of ArcGIS as base model; or train "
            "'Everything': then all is learnt from your tiles alone, which wants hundreds of them and many epochs.",
        )
    raise TrainingError(
        f"'{base.title}' has no plain ResNet as its backbone ({base.architecture.encoder}), on which ArcGIS's networks stand: the new one would "
        "start from nothing, and a backbone that knows nothing must not be kept as it is.",
        "Choose 'Photographs: ResNet-18' as base model, or another ResNet-18, -34 or -50 of the Models page; or train 'Everything': then all is "
        "learnt from your tiles alone, which wants hundreds of them and many epochs.",
    )


def check_replay(replay: TileSet, model_input: ModelInput) -> None:
    """Refuse reminder tiles that the model cannot read.

    Raises:
        InputMismatchError: other bands or another type of numbers.
        TooFewTilesError: it has no training tile.
        TileSetFormatError: its format is for other programs.
    """
    require_pixels(replay)
    order = band_order(model_input, replay.record.seen_bands)
    if replay.record.dtype != model_input.dtype:
        raise InputMismatchError(
            f"The reminder tiles '{replay.name}' are {replay.record.dtype}, the training tiles {model_input.dtype}.",
            "Choose reminder tiles cut from the same kind of imagery, or train without.",
        )
    there = [replay.record.seen_statistics[i].range for i in order]
    if replay.record.dtype not in ONE_UNIT and unlikeness(model_input.ranges, there) is not None:
        raise InputMismatchError(
            f"The values of the reminder tiles '{replay.name}' lie in another range than those of the training tiles.",
            "Choose reminder tiles cut from imagery in the same units, or train without.",
        )
    if not replay.train:
        raise TooFewTilesError(f"The reminder tiles '{replay.name}' have no training tile.", "Choose another tile set, or train without.")


def reminders_apart(replay: TileSet, tile_set: TileSet) -> tuple[list[TileRecord], list[TileRecord]]:
    """Reminder tiles to learn from, and to score on: those that do not lie where the tile set has tiles of the other side.

    Raises:
        TooFewTilesError: nothing to learn from is left.
    """
    learnt = clear_of(replay.train, replay.record, tile_set.validation, tile_set.record)
    if not learnt:
        raise TooFewTilesError(
            f"All reminder tiles of '{replay.name}' lie where the tiles kept for the test lie; learning from them would spoil it.",
            "Choose reminder tiles from other places, or train without.",
        )
    return learnt, clear_of(replay.validation, replay.record, tile_set.train, tile_set.record)
