"""Which network a model is: two names and three numbers, enough to build it again. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Decoder = Literal["light", "unet", "fpn", "deeplabv3plus"]


class Architecture(BaseModel):
    """An encoder and a decoder, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(default="resnet18d", pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$", description="Name of the encoder in timm.")
    decoder: Decoder = Field(
        default="light", description="'light' ends early and is the fast one; the others are the well-known full ones."
    )
    decoder_channels: int = Field(default=64, ge=8, le=512, description="Width of the light decoder.")
    encoder_levels: int = Field(default=4, ge=2, le=5, description="How many halvings of the encoder are used; 4 ends at stride 16.")
    output_stride: Literal[2, 4] = Field(default=2, description="Where the light decoder ends: 2 keeps thin lines sharper, 4 is faster.")
