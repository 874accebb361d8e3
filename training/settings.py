"""What a person chooses for a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """Saved as settings.json in the run folder; the form shows titles and descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: str = Field(min_length=1, title="Tiles", description="Folder of the tile set to learn from.")
    base: str = Field(
        default="paved-roads-starter",
        min_length=1,
        title="Base model",
        description="What training starts from: a name in the list, or a folder.",
    )
    freeze: Literal["all_but_last_layer", "backbone", "nothing"] = Field(
        default="backbone",
        title="How thoroughly",
        description="Quick: only the last layer is fitted, a first map within seconds. Thorough: the last layers learn too, after that; what the "
        "model knows about how the ground looks (its backbone) stays as it is; safe with few labels. Everything: takes longest and wants "
        "hundreds of tiles.",
    )
    epochs: int = Field(
        default=20, ge=1, le=1000, title="Epochs", description="How often all tiles are gone through. More is slower, seldom worse."
    )
    name: str = Field(
        default="",
        max_length=60,
        title="Name of the new model",
        description="How it appears in lists; empty: made from the tile set's name.",
    )
    keep_old_classes: bool = Field(
        default=True,
        title="Keep what the base model knows",
        description="Where you drew nothing and the base model is sure of a class it knows, its answer is kept as the truth. Off: everything "
        "you did not draw counts as background, so the model unlearns its old classes.",
    )
    replay_tiles: str | None = Field(
        default=None,
        title="Reminder tiles",
        description="Folder of a second tile set with the old classes; mixed in, so that they are not forgotten.",
    )
    replay_share: float = Field(
        default=0.3,
        ge=0.0,
        le=0.9,
        title="Share of reminder tiles",
        description="Part of every training step that comes from the reminder tiles.",
    )
    batch_size: int = Field(
        default=4, ge=1, le=64, title="Tiles per step", description="Smaller: more, noisier steps. Larger needs more memory."
    )
    learning_rate: float = Field(
        default=5e-4,
        gt=0,
        le=1.0,
        title="Learning rate",
        description="Largest step size; warmed up to and faded out. The encoder, when it learns, takes a tenth.",
    )
    seed: int = Field(default=0, ge=0, title="Seed", description="The same settings and seed give the same model on the same machine.")
    stop_early_after: int = Field(
        default=10,
        ge=0,
        le=1000,
        title="Stop early after",
        description="Epochs without improvement on the held-out tiles before training stops; 0: never.",
    )
    augment: bool = Field(
        default=True, title="Vary the tiles", description="Turn, mirror, zoom and recolour tiles at random, so that few labels go further."
    )
    balance: bool = Field(default=True, title="Balance classes", description="Rare classes weigh more, up to a limit.")
    train_despite_leak: bool = Field(
        default=False,
        title="Train all the same",
        description="Only where the tiles kept for the test are not apart from those to learn from (they overlap or repeat them, or do not say "
        "where they lie): train nevertheless. Every score then says that it is no honest test.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", title="Computer", description="'auto' uses a graphics card when there is one."
    )
    publish_to: str | None = Field(
        default=None, title="Save the model as", description="Folder that the finished model is copied to, besides the run folder."
    )
