"""Every setting of an export as an option of a command: its name, default and words are those of `ExportSettings`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, Literal, Optional, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from labeling.export.settings import ExportSettings

Command = Callable[..., None]
SPELT = {"metadata_format": "format"}
"""Options that are not called as their setting."""


def with_settings(command: Command) -> Command:
    """Give a Typer command an option for each setting. The command itself takes them together, as its argument `settings`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(SPELT.get(name, name)) for name in ExportSettings.model_fields}
        try:
            settings = ExportSettings.model_validate(chosen)
        except ValidationError as error:
            raise typer.BadParameter(_explained(error)) from error
        command(settings=settings, **given)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
    options = [_option(name, field) for name, field in ExportSettings.model_fields.items()]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *options)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    kind: Any = kinds[0] if NoneType in get_args(field.annotation) else field.annotation
    listed = field.json_schema_extra.get("options") if isinstance(field.json_schema_extra, dict) else None
    few = ", ".join(map(str, listed if isinstance(listed, dict) else get_args(kind) if get_origin(kind) is Literal else ()))
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    elif get_origin(kind) is Literal:
        kind = str
    annotation = Annotated[Optional[kind], typer.Option(help=f"{few + '. ' if few else ''}{field.description or ''}")]  # noqa: UP045
    return inspect.Parameter(SPELT.get(name, name), inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


def _explained(error: ValidationError) -> str:
    """What is refused, a sentence for each, with the options concerned."""
    found = []
    for one in error.errors():
        option = "--" + str(one["loc"][0]).replace("_", "-") + ": " if one["loc"] else ""
        found.append(option + one["msg"].removeprefix("Value error, "))
    return " ".join(found)
