"""The class schema: what can be labelled, with ArcGIS-style values, names and colours."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from errors import LabelError, UnknownClassError

BACKGROUND_VALUE = 0
UNCERTAIN_VALUE = 255
FULLY_LABELLED_VALUE = BACKGROUND_VALUE
FULLY_LABELLED_NAME = "Fully labelled area"
"""A label of this value is an area in which everything is drawn: what is not is background. It is no class, and lies below all of them."""
FULLY_LABELLED_COLOUR = "#00b8a9"
PALETTE = ("#ff9f1c", "#4361ee", "#2ec4b6", "#e71d36", "#8338ec", "#6a994e", "#ffd60a", "#bc4749", "#118ab2", "#ef476f")
MAX_DESCRIPTION = 300

Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class ClassDef(BaseModel):
    """One class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=1, le=255, description="Class value written into label pixels (ArcGIS: Classvalue).")
    name: str = Field(min_length=1, max_length=60, description="Name shown to people (ArcGIS: Classname).")
    colour: Colour = Field(description="Colour on the map, as #rrggbb.")
    ignore: bool = Field(default=False, description="Areas of this class are never learnt from and never scored.")
    description: str = Field(default="", max_length=MAX_DESCRIPTION, description="What belongs to the class, for those who label.")

    @field_validator("name")
    @classmethod
    def _tidy(cls, name: str) -> str:
        tidy = " ".join(name.split())
        if not tidy:
            raise ValueError("A class name cannot be only blanks.")
        return tidy

    @field_validator("description")
    @classmethod
    def _trimmed(cls, description: str) -> str:
        return description.strip()

    @field_validator("colour", mode="before")
    @classmethod
    def _lower(cls, colour: Any) -> Any:
        return colour.lower() if isinstance(colour, str) else colour

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0..255."""
        return rgb_of(self.colour)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green, blue, 0..255, of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


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


def is_fully_labelled(name: str) -> bool:
    """Whether a name from a file means a fully labelled area, whatever its case."""
    return " ".join(name.split()).casefold() == FULLY_LABELLED_NAME.casefold()


def starter_schema() -> ClassSchema:
    """What a new project begins with: the road story, ready to be changed."""
    return ClassSchema(
        classes=(
            ClassDef(value=2, name="Unpaved road", colour="#ff9f1c"),
            ClassDef(value=1, name="Paved road", colour="#4361ee"),
            ClassDef(value=UNCERTAIN_VALUE, name="Uncertain", colour="#9aa0a6", ignore=True),
        )
    )


def free_value(schema: ClassSchema, wanted: int | None = None) -> int | None:
    """The wanted class value when it may be used and no class has it, else the smallest free one of 1..254; None when none is left."""
    taken = {c.value for c in schema.classes}
    if wanted is not None and BACKGROUND_VALUE < wanted <= UNCERTAIN_VALUE and wanted not in taken:
        return wanted
    return next((value for value in range(1, UNCERTAIN_VALUE) if value not in taken), None)


def unused_colour(schema: ClassSchema) -> str:
    """A colour no class has yet, as long as there is one."""
    taken = {c.colour for c in schema.classes}
    return next((colour for colour in PALETTE if colour not in taken), PALETTE[len(schema.classes) % len(PALETTE)])


def with_new_class(schema: ClassSchema, name: str, colour: str, *, value: int | None = None, description: str = "") -> ClassSchema:
    """The schema with one more class at the end, with the smallest free value unless one is given.

    Raises:
        LabelError: the name or the value is missing, taken or not allowed, or there is no value left.
    """
    if value is None:
        value = free_value(schema)
    if value is None:
        raise LabelError("There are 254 classes already.", "Remove one that is not used.")
    row = {"value": value, "name": name, "colour": colour, "description": description, "ignore": value == UNCERTAIN_VALUE}
    return _checked([*schema.classes, row])


def with_class(schema: ClassSchema, value: int, /, **changes: object) -> ClassSchema:
    """The schema with some fields of one class changed.

    Raises:
        LabelError: the name or the value is missing, taken or not allowed.
    """
    return _checked([c.model_dump() | changes if c.value == value else c for c in schema.classes])


def without_class(schema: ClassSchema, value: int, used: int) -> ClassSchema:
    """The schema without one class.

    Args:
        schema: As it is.
        value: The class.
        used: Labels that would be left without a class.

    Raises:
        LabelError: labels use it, or it is the last.
    """
    one = schema.by_value(value)
    if used:
        raise LabelError(
            f"'{one.name}' cannot be removed: {'1 label uses' if used == 1 else f'{used:,} labels use'} it.",
            "Give them another class or delete them first.",
        )
    if len(schema.classes) == 1:
        raise LabelError(f"'{one.name}' is the only class.", "Add another one first, or rename this one.")
    return ClassSchema(classes=tuple(c for c in schema.classes if c.value != value))


def moved(schema: ClassSchema, position: int, by: int) -> ClassSchema:
    """The schema with the class at `position` moved by `by` places."""
    classes = list(schema.classes)
    classes.insert(position + by, classes.pop(position))
    return ClassSchema(classes=tuple(classes))


def _checked(classes: list[ClassDef | dict[str, Any]]) -> ClassSchema:
    rows = [c.model_dump() if isinstance(c, ClassDef) else c for c in classes]
    values = [row["value"] for row in rows]
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise LabelError(f"Class value {twice} is taken.", "Choose another one, or change the other class first.")
    if not all(BACKGROUND_VALUE < value <= UNCERTAIN_VALUE for value in values):
        raise LabelError("Class values go from 1 to 254.", "0 is the background, 255 the areas that are not learnt from.")
    if any((row["value"] == UNCERTAIN_VALUE) and not row.get("ignore") for row in rows):
        raise LabelError("Class value 255 is for areas that are not learnt from.", "Choose a value from 1 to 254, or tick that box.")
    try:
        if not all(str(row["name"]).strip() for row in rows):
            raise LabelError("A class needs a name.", "Type one of at most 60 characters.")
        if any(is_fully_labelled(str(row["name"])) for row in rows):
            raise LabelError(f"'{FULLY_LABELLED_NAME}' is no class: it is the tool with the key I.", "Choose another name.")
        return ClassSchema.model_validate({"classes": rows})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise LabelError("Two classes cannot have the same name.", "Choose another name.") from error
        if "description" in first["loc"]:
            raise LabelError("The description is too long.", f"Keep it below {MAX_DESCRIPTION} characters.") from error
        raise LabelError("A class needs a name and a colour.", "Type a name of at most 60 characters.") from error
