"""Which network a model is: a few names and numbers, enough to build it again. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Task = Literal["semantic segmentation", "object detection", "instance segmentation", "scene classification", "change detection"]
"""What a model answers: a class for each pixel; boxes; outlines; a class for a whole tile; a class for each pixel of a pair of images."""

Decoder = Literal["light", "unet", "fpn", "deeplabv3plus"]
Detector = Literal["fasterrcnn", "retinanet", "fcos", "ssd", "maskrcnn"]

_Encoder = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$", description="Name of the encoder in timm.")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Strict):
    """A class for each pixel: an encoder and a decoder, by name."""

    kind: Literal["pixels"] = "pixels"
    encoder: _Encoder = "resnet18d"
    decoder: Decoder = Field(
        default="light", description="'light' ends early and is the fast one; the others are the well-known full ones."
    )
    decoder_channels: int = Field(default=64, ge=8, le=512, description="Width of the light decoder.")
    encoder_levels: int = Field(default=4, ge=2, le=5, description="How many halvings of the encoder are used; 4 ends at stride 16.")
    output_stride: Literal[2, 4] = Field(default=2, description="Where the light decoder ends: 2 keeps thin lines sharper, 4 is faster.")
    images: Literal[1, 2] = Field(
        default=1,
        description="2: change between two images of one place, each of which the same encoder looks at; bands are listed for both.",
    )


class DetectorArchitecture(_Strict):
    """Boxes, or outlines: torchvision's detector on a feature pyramid over an encoder."""

    kind: Literal["objects"] = "objects"
    encoder: _Encoder = "resnet18d"
    detector: Detector = "fasterrcnn"
    encoder_levels: int = Field(default=4, ge=3, le=5, description="How many halvings of the encoder are used.")
    smallest_px: int = Field(default=16, ge=2, le=256, description="Side of the smallest anchor box, pixels; each level up doubles it.")


class SceneArchitecture(_Strict):
    """One class for a whole tile: an encoder, the mean over the picture, a linear layer."""

    kind: Literal["scene"] = "scene"
    encoder: _Encoder = "resnet18d"
    encoder_levels: int = Field(default=4, ge=2, le=5, description="How many halvings of the encoder are used.")


def _kind(value: Any) -> str:
    """Cards from before there were kinds say a class for each pixel."""
    return str(value.get("kind", "pixels") if isinstance(value, dict) else value.kind)


AnyArchitecture = Annotated[
    Annotated[Architecture, Tag("pixels")] | Annotated[DetectorArchitecture, Tag("objects")] | Annotated[SceneArchitecture, Tag("scene")],
    Discriminator(_kind),
]


def task_of(architecture: Architecture | DetectorArchitecture | SceneArchitecture) -> Task:
    """What a model of this architecture answers."""
    if isinstance(architecture, DetectorArchitecture):
        return "instance segmentation" if architecture.detector == "maskrcnn" else "object detection"
    if isinstance(architecture, SceneArchitecture):
        return "scene classification"
    return "semantic segmentation" if architecture.images == 1 else "change detection"
