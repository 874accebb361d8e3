"""What a person chooses for a training run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.architecture import Decoder, Detector

LossName = Literal["cross_entropy_dice", "cross_entropy", "focal", "dice", "lovasz", "tversky"]
AUTO = "auto"
"""What is typed on the command line where the form is left empty."""
NetworkName = Literal["auto", Decoder, "arcgis_unet", "arcgis_deeplab", "roads_linknet", "roads_hourglass", Detector, "scene"]
NETWORKS: dict[NetworkName, str] = {
    "auto": "As the tiles ask",
    "light": "A class for each pixel: small and quick",
    "unet": "A class for each pixel: U-Net",
    "fpn": "A class for each pixel: FPN",
    "deeplabv3plus": "A class for each pixel: DeepLabV3+",
    "pspnet": "A class for each pixel: PSPNet",
    "upernet": "A class for each pixel: UPerNet",
    "segformer": "A class for each pixel: SegFormer's decoder",
    "linknet": "A class for each pixel: LinkNet",
    "arcgis_unet": "A class for each pixel: U-Net that ArcGIS can open",
    "arcgis_deeplab": "A class for each pixel: DeepLab that ArcGIS can open",
    "roads_linknet": "A class for each pixel: roads, and which way each leads, so that they hang together (LinkNet; with one class ArcGIS can open it)",
    "roads_hourglass": "A class for each pixel: roads, and which way each leads (stacked hourglasses, slow; with one class ArcGIS can open it)",
    "fasterrcnn": "A box around each object: Faster R-CNN",
    "retinanet": "A box around each object: RetinaNet",
    "fcos": "A box around each object: FCOS",
    "ssd": "A box around each object: SSD",
    "maskrcnn": "An outline of each object: Mask R-CNN",
    "scene": "A class for the whole tile",
}
LEARNING, TILES, STOPPING = "How it learns", "What it sees of the tiles", "When it stops"
GROUPS = (LEARNING, TILES, STOPPING)
"""Headings under "More options", in order."""

HELD_OUT = "held-out tiles"
"""What scores on the tiles kept for the test say they are from."""
PLACES = ("tiles", "base", "replay_tiles", "publish_to")
"""Settings that are folders (the base model may be a name)."""


def _shown(group: str, **more: Any) -> dict[str, Any]:
    """How the form shows a field under "More options": see `ui.settings_fields`.

    `quick`: a quick training heeds it, too. `kinds`: only models that learn one of these heed it (see `training.tasks.Kind`). `typed`: a number that may be left empty. `only_with`: (field, value) without which it has no part.
    """
    return {"group": group} | more


class TrainingSettings(BaseModel):
    """Saved as settings.json in the run folder; the form shows titles and descriptions.

    Folders that lie in the project are noted relative to it (`workspace.places`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: str = Field(min_length=1, title="Tiles", description="Folder of the tile set to learn from.")
    base: str = Field(
        default="paved-roads-starter",
        min_length=1,
        title="Base model",
        description="What training starts from: a name in the list, or a folder.",
    )
    freeze: Literal["all_but_last_layer", "features", "backbone", "adapters", "ladder", "nothing"] = Field(
        default="backbone",
        title="How thoroughly",
        json_schema_extra={"options": {"all_but_last_layer": "Quick (seconds)", "features": "Brisk", "backbone": "Thorough", "adapters": "Adapters", "ladder": "Step by step", "nothing": "Everything"}},
        description="Quick: only the last layer is fitted, a first map within seconds. Brisk: the last layers learn too, from what the backbone sees in one look at each tile. Thorough: the same, but it looks anew in every epoch, at tiles varied differently each time; what the "
        "model knows about how the ground looks (its backbone) stays as it is; safe with few labels. Adapters (only where the backbone is a transformer): as "
        "thorough, and the backbone's attention learns small additions, which are merged into it. Step by step: quick, then thorough, then the "
        "backbone's last stage, then everything, each from the best so far; stop when you like, the best is kept. Everything: wants hundreds of tiles.",
    )
    network: NetworkName = Field(
        default="auto",
        title="What is learnt",
        description="As the tiles ask: what the base model already does where the tiles can teach it, else what is usual for such tiles. "
        "Another network than the base model's own starts with the base model's backbone and knows no class yet. A model that ArcGIS shall open needs one "
        "that 'ArcGIS can open', and a base model with a plain ResNet.",
        json_schema_extra=_shown(LEARNING, quick=True, choose="network", options=NETWORKS),
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
        json_schema_extra={"kinds": ["pixels", "scene"]},
    )
    replay_tiles: str | None = Field(
        default=None,
        title="Reminder tiles",
        description="Folder of a second tile set with the old classes; mixed in, so that they are not forgotten.",
        json_schema_extra={"kinds": ["pixels"]},
    )
    replay_share: float = Field(
        default=0.3,
        ge=0.0,
        le=0.9,
        title="Share of reminder tiles",
        description="Part of every training step that comes from the reminder tiles.",
        json_schema_extra={"kinds": ["pixels"]},
    )
    ignore_classes: tuple[str, ...] = Field(
        default=(),
        title="Leave out classes",
        description="Classes of the tiles that are not to be learnt this time: where they are drawn, nothing is learnt and nothing scored.",
        json_schema_extra=_shown(TILES, quick=True, choose="classes", empty="None: learn all"),
    )
    chip_size: int | None = Field(
        default=None,
        ge=32,
        le=1024,
        multiple_of=32,
        title="Chip size",
        description="Learn from random squares of this many pixels, cut anew from each tile in each epoch. Smaller is quicker and needs less "
        "memory, but shows less of the surroundings. Empty: from whole tiles (brisk: from squares of a quarter of a tile's side, "
        "of half of it where the model knows no class yet).",
        json_schema_extra=_shown(TILES, typed=True, empty="as usual"),
    )
    augment: Literal["default", "none", "custom"] = Field(
        default="default",
        title="Vary the tiles",
        description="Turn, mirror, zoom and recolour tiles at random while learning, so that few labels go further. Labels move with them; the "
        "tiles on disk, and where they lie, stay as they are.",
        json_schema_extra=_shown(TILES, options={"default": "As usual", "none": "Off", "custom": "My own"}),
    )
    augment_turn: bool = Field(
        default=True,
        title="Turn and mirror",
        description="Off where up and down differ: shadows that matter, pictures from the side.",
        json_schema_extra=_shown(TILES, only_with=("augment", "custom")),
    )
    augment_zoom: float = Field(
        default=1.25,
        ge=1.0,
        le=2.0,
        title="Zoom",
        description="Largest enlargement or reduction; 1: none.",
        json_schema_extra=_shown(TILES, only_with=("augment", "custom")),
    )
    augment_brightness: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        title="Brightness",
        description="Largest change, as a share of how much the values of a band usually differ.",
        json_schema_extra=_shown(TILES, only_with=("augment", "custom")),
    )
    augment_contrast: float = Field(
        default=0.25,
        ge=0.0,
        le=0.9,
        title="Contrast",
        description="Largest change, as a share.",
        json_schema_extra=_shown(TILES, only_with=("augment", "custom")),
    )
    augment_saturation: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        title="Colourfulness",
        description="Largest change, as a share; of images with three bands or more.",
        json_schema_extra=_shown(TILES, only_with=("augment", "custom")),
    )
    mixup: bool = Field(
        default=False,
        title="Mixup",
        description="Lay each tile over another one, faintly or half and half, and let both labels count in these shares: sometimes helps where tiles "
        "are few. Of pixels only with the losses cross-entropy and focal; the tiles on disk stay as they are.",
        json_schema_extra=_shown(TILES, kinds=("pixels", "scene")),
    )
    learning_rate: float | None = Field(
        default=5e-4,
        gt=0,
        le=1.0,
        title="Learning rate",
        description="Largest step size; warmed up to and faded out. The encoder, when it learns, takes a tenth. Empty ('auto' in the command): "
        "found by a short trial before training, whose curve is shown.",
        json_schema_extra=_shown(LEARNING, typed=True, empty="found by a trial"),
    )
    schedule: Literal["cosine", "one_cycle"] = Field(
        default="cosine",
        title="Course of the learning rate",
        description="Usual: a short warm-up, then slowly down. One cycle: up for a third of the training, then down; momentum the other way.",
        json_schema_extra=_shown(LEARNING, options={"cosine": "Usual", "one_cycle": "One cycle"}),
    )
    batch_size: int | None = Field(
        default=4,
        ge=1,
        le=1024,
        title="Tiles per step",
        description="Smaller: more, noisier steps. Larger needs more memory; where it runs out, a step is taken in pieces. Empty ('auto' in the "
        "command): as many as fit, up to 16 for each graphics card, with at least 8 steps in an epoch.",
        json_schema_extra=_shown(LEARNING, typed=True, empty="as many as fit"),
    )
    loss: LossName = Field(
        default="cross_entropy_dice",
        title="Loss",
        description="What is counted as a mistake while learning. Usual: every pixel (cross-entropy) and the overlap of each class (Dice). Cross-entropy: every pixel alone. Focal: hard pixels count "
        "most. Dice, Lovász: the overlap alone. Tversky: what is missed costs more than a false alarm.",
        json_schema_extra=_shown(
            LEARNING,
            kinds=("pixels",),
            options={
                "cross_entropy_dice": "Usual",
                "cross_entropy": "Cross-entropy",
                "focal": "Focal",
                "dice": "Dice",
                "lovasz": "Lovász",
                "tversky": "Tversky",
            },
        ),
    )
    balance: bool = Field(
        default=True,
        title="Balance classes",
        description="Rare classes weigh more, up to a limit. Not with the Lovász loss.",
        json_schema_extra=_shown(LEARNING, quick=True, kinds=("pixels", "scene")),
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="The same settings and seed give the same model on the same machine.",
        json_schema_extra=_shown(LEARNING, quick=True),
    )
    monitor: Literal["mean_iou", "class_iou", "f1", "loss"] = Field(
        default="mean_iou",
        title="Best epoch by",
        description="Which number on the held-out tiles says which epoch is the best and kept, and when to stop early: the mean over the "
        "classes (of the IoU; of objects the AP50, of whole tiles the F1), the score of one class, the mean F1, or the loss.",
        json_schema_extra=_shown(
            STOPPING,
            options={"mean_iou": "Mean of the classes", "class_iou": "One class", "f1": "Mean F1", "loss": "Loss (the lowest)"},
        ),
    )
    monitor_class: str = Field(
        default="",
        title="Class to watch",
        description="With 'One class': its name.",
        json_schema_extra=_shown(STOPPING, choose="class", only_with=("monitor", "class_iou")),
    )
    stop_early_after: int = Field(
        default=10,
        ge=0,
        le=1000,
        title="Stop early after",
        description="Epochs without improvement on the held-out tiles before training stops; 0: never.",
        json_schema_extra=_shown(STOPPING),
    )
    train_despite_leak: bool = Field(
        default=False,
        title="Train all the same",
        description="Only where the tiles kept for the test are not apart from those to learn from (they overlap or repeat them, or do not say "
        "where they lie): train nevertheless. Every score then says that it is no honest test.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", title="Computer", description="'auto' uses a graphics card when there is one."
    )
    devices: int | None = Field(
        default=1,
        ge=1,
        le=64,
        title="Graphics cards",
        description="How many learn at once, each from its share of every step's tiles. Empty ('auto' in the command): all of this computer. Without "
        "graphics cards it is the number of processes. Several computers: start the run with torchrun (docs/scaling.md), which then decides.",
        json_schema_extra=_shown(LEARNING, typed=True, empty="all there are"),
    )
    publish_to: str | None = Field(
        default=None, title="Save the model as", description="Folder that the finished model is copied to, besides the run folder."
    )

    @field_validator("augment", mode="before")
    @classmethod
    def _was_a_switch(cls, value: Any) -> Any:
        """Runs from before there were three ways say true or false."""
        return {True: "default", False: "none"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("learning_rate", "batch_size", "devices", mode="before")
    @classmethod
    def _left_open(cls, value: Any) -> Any:
        return None if value == AUTO else value
