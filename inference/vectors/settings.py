"""What shapes are asked for: the choices of the page and of the commands, described once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PolygonSettings(_Strict):
    """Areas of classes."""

    kind: Literal["polygons"] = "polygons"
    smallest_m2: float = Field(
        default=5.0, ge=0, title="Smallest area (m²)", description="Smaller areas are left out, or become a part of the class around them."
    )
    holes_m2: float = Field(default=5.0, ge=0, title="Fill holes up to (m²)", description="Smaller holes inside an area are closed.")
    slivers: bool = Field(
        default=True,
        title="No slivers",
        description="What is left between two classes and is no wider than a pixel becomes a part of one of them.",
    )
    smooth_px: float = Field(
        default=1.0,
        ge=0,
        le=20,
        title="Smoothing (pixels)",
        description="How far outlines may leave the edges of the pixels. 0 follows every pixel. Classes that touch keep the same border.",
    )


class BuildingSettings(_Strict):
    """Buildings with right angles."""

    kind: Literal["buildings"] = "buildings"
    smallest_m2: float = Field(default=10.0, ge=0, title="Smallest building (m²)", description="Smaller ones are left out.")
    holes_m2: float = Field(
        default=10.0, ge=0, title="Fill courtyards up to (m²)", description="Smaller holes inside a building are closed."
    )
    agreement: float = Field(
        default=0.9,
        ge=0.5,
        le=1,
        title="Least agreement with the map",
        description="A building whose shape with right angles would agree less with the map (intersection over union) keeps its own outline, and says so.",
    )


class RoadSettings(_Strict):
    """Centre lines that hang together."""

    kind: Literal["roads"] = "roads"
    spur_m: float = Field(
        default=10.0, ge=0, title="Cut off side lines up to (m)", description="Shorter dead ends are bumps of the map, not roads."
    )
    gap_m: float = Field(
        default=25.0,
        ge=0,
        title="Join gaps up to (m)",
        description="Ends that face one another, or another road, across no more than this are joined.",
    )
    shortest_m: float = Field(default=20.0, ge=0, title="Shortest road (m)", description="Shorter roads that join no other are left out.")
    smooth_m: float = Field(
        default=1.0, ge=0, title="Smoothing (m)", description="How far lines may leave the middle of the road to have fewer points."
    )


ShapeSettings = Annotated[PolygonSettings | BuildingSettings | RoadSettings, Field(discriminator="kind")]
