"""The class schema: what can be labelled, with ArcGIS-style values, names and colours."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from errors import UnknownClassError

BACKGROUND_VALUE = 0
UNCERTAIN_VALUE = 255

Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class ClassDef(BaseModel):
    """One class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=1, le=255, description="Class value written into label pixels (ArcGIS: Classvalue).")
    name: str = Field(min_length=1, max_length=60, description="Name shown to people (ArcGIS: Classname).")
    colour: Colour = Field(description="Colour on the map, as #rrggbb.")
    ignore: bool = Field(default=False, description="Areas of this class are never learnt from and never scored.")

    @field_validator("name")
    @classmethod
    def _tidy(cls, name: str) -> str:
        tidy = " ".join(name.split())
        if not tidy:
            raise ValueError("A class name cannot be only blanks.")
        return tidy

    @field_validator("colour", mode="before")
    @classmethod
    def _lower(cls, colour: Any) -> Any:
        return colour.lower() if isinstance(colour, str) else colour

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


class ClassSchema(BaseModel):
    """Classes in drawing order: where labels overlap, the later class wins. Background (0) is implied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[ClassDef, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> ClassSchema:
        seen: set[int | str] = set()
        for c in self.classes:
            for what, label in (("value", c.value), ("name", c.name.casefold())):
                if label in seen:
                    raise ValueError(f"Two classes share the {what} {label}. Give each its own.")
                seen.add(label)
        return self

    @property
    def learnt(self) -> tuple[ClassDef, ...]:
        """Classes a model learns: all but the ignored ones."""
        return tuple(c for c in self.classes if not c.ignore)

    def by_value(self, value: int) -> ClassDef:
        """The class with this value.

        Raises:
            UnknownClassError: there is none.
        """
        for c in self.classes:
            if c.value == value:
                return c
        known = ", ".join(f"{c.value} ({c.name})" for c in self.classes) or "none"
        raise UnknownClassError(
            f"Class value {value} is not in the class list.", f"Known: {known}. Add the class, or map the value to one of these."
        )

    def by_name(self, name: str) -> ClassDef | None:
        """The class with this name, whatever its case; None when there is none."""
        wanted = " ".join(name.split()).casefold()
        return next((c for c in self.classes if c.name.casefold() == wanted), None)

    def to_arcgis(self) -> list[dict[str, Any]]:
        """The learnt classes as ArcGIS writes them: Value, Name, Color."""
        return [{"Value": c.value, "Name": c.name, "Color": list(c.rgb)} for c in self.learnt]


def starter_schema() -> ClassSchema:
    """What a new project begins with: the road story, ready to be changed."""
    return ClassSchema(
        classes=(
            ClassDef(value=2, name="Unpaved road", colour="#ff9f1c"),
            ClassDef(value=1, name="Paved road", colour="#4361ee"),
            ClassDef(value=UNCERTAIN_VALUE, name="Uncertain", colour="#9aa0a6", ignore=True),
        )
    )
