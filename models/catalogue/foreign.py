"""Catalogues of others: STAC catalogues, collections, items or folders of items, in a folder or at an address, kept as they were read.

What was read is kept in `<data folder>/catalogues/`, so that pages neither wait for a server nor need one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pystac
from pydantic import BaseModel, ConfigDict, ValidationError
from pystac.stac_io import DefaultStacIO

from errors import BundleError, TerratuneError
from models.catalogue.published import ENCODER_LOADERS, PublishedModel, from_stac, published_models
from models.download import TIMEOUT_S, Judge, is_address
from workspace.files import folder_name, read_json, write_json

LOADED_FROM_OTHERS = ENCODER_LOADERS | {"arcgis"}
"""Nothing of others passes for what comes with Terratune, or for an official checkpoint."""
MOST_ITEMS = 500
MOST_BYTES = 4 * 2**20
"""Of one JSON file."""


_NO_STAC = (pystac.STACError, pystac.STACTypeError)


class ForeignCatalogue(BaseModel):
    """A catalogue as it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    """Folder, file or address."""
    title: str
    models: tuple[PublishedModel, ...]
    left_out: tuple[str, ...] = ()
    """Why items were left out."""
    trusted: bool = True


@dataclass(frozen=True)
class CatalogueShelf:
    """Where an installation keeps what it read of other catalogues."""

    folder: Path
    """`<data folder>/catalogues`."""

    @classmethod
    def beside(cls, store: Path) -> CatalogueShelf:
        """The shelf of the installation whose downloaded models lie in `store`."""
        return cls(store.parent / "catalogues")

    def all(self) -> list[ForeignCatalogue]:
        """Those read so far, by title; a file that cannot be read any more is passed over."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(ForeignCatalogue.model_validate(read_json(path)))
            except (OSError, json.JSONDecodeError, ValidationError):
                continue
        return sorted(found, key=lambda one: one.title.casefold())

    def read(self, place: str, judge: Judge | None = None) -> ForeignCatalogue:
        """Read a catalogue, anew where it is known, and keep it. Arguments and errors as `open_catalogue`."""
        read = open_catalogue(place, judge)
        write_json(self._path(place), read.model_dump(mode="json"))
        return read

    def forget(self, place: str) -> None:
        """Downloaded models of it stay."""
        self._path(place).unlink(missing_ok=True)

    def _path(self, place: str) -> Path:
        return self.folder / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"


def all_models(store: Path | None = None) -> list[PublishedModel]:
    """Our cards, then those of the foreign catalogues that were read.

    Args:
        store: Downloaded models (`<data folder>/models`); None: only ours.
    """
    shelf = [] if store is None else CatalogueShelf.beside(store).all()
    return [*published_models(), *(model for one in shelf for model in one.models)]


def open_catalogue(place: str, judge: Judge | None = None) -> ForeignCatalogue:
    """Read the models of a STAC-MLM catalogue; at most 500.

    Args:
        place: A folder (with catalog.json or collection.json, or just of items), a JSON file, or an http(s) address of one.
        judge: Called with each address before it is asked, redirects included; raises where it may not be. A catalogue that needs judging
            is not trusted: where its models are fetched from is judged, too.

    Raises:
        BundleError: nothing readable is there, or no card of a model.
    """
    place = place.strip()
    reader = _Reader(judge)
    models: dict[str, PublishedModel] = {}
    left_out = []
    try:
        title, items = _items(place, reader)
        for number, item in enumerate(items):
            if number >= MOST_ITEMS:
                left_out.append(f"Only the first {MOST_ITEMS} items were read.")
                break
            try:
                card = from_stac(item, catalogue=title, trusted=judge is None)
                name = f"{folder_name(title)}.{card.name}"  # never that of one of ours
                loader = card.loader if card.loader in LOADED_FROM_OTHERS else ""
                models[name] = card.model_copy(update={"name": name, "loader": loader})
            except BundleError as error:
                left_out.append(error.fact)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, httpx.HTTPError, httpx.InvalidURL, *_NO_STAC) as error:
        raise BundleError(
            f"The catalogue {place} cannot be read ({_reason(error)}).",
            "Give the address or folder of a STAC catalogue whose items describe models (MLM extension).",
        ) from error
    if not models:
        raise BundleError(
            f"The catalogue {place} holds no card of a model" + (f": {left_out[0]}" if left_out else "."),
            "Give the address or folder of a STAC catalogue whose items describe models (MLM extension).",
        )
    return ForeignCatalogue(place=place, title=title, models=tuple(models.values()), left_out=tuple(left_out), trusted=judge is None)


class _Reader(DefaultStacIO):
    """Reads bounded JSON from files and judged addresses; pystac's own reader would follow redirects anywhere."""

    def __init__(self, judge: Judge | None) -> None:
        super().__init__()
        self._judge = judge

    def read_text_from_href(self, href: str) -> str:
        if not is_address(href):
            if self._judge is not None:
                raise BundleError(
                    f"The catalogue names a file of this server ({Path(href).name}).", "Give a catalogue that lies on the web."
                )
            if Path(href).stat().st_size > MOST_BYTES:
                raise ValueError("a file is too large")
            return Path(href).read_text(encoding="utf-8")
        judge = self._judge
        hooks = {"request": [lambda request: judge(str(request.url))]} if judge else {}
        with (
            httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, event_hooks=hooks) as client,
            client.stream("GET", href) as answer,
        ):
            answer.raise_for_status()
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ValueError("a file is too large")
            return body.decode("utf-8")


def _items(place: str, reader: _Reader) -> tuple[str, Iterator[pystac.Item]]:
    """Title and items of whatever lies at `place`."""
    if not is_address(place) and Path(place).is_dir():
        folder = Path(place).resolve()
        top = next((folder / name for name in ("catalog.json", "collection.json") if (folder / name).exists()), None)
        if top is None:
            return folder.name, _loose(sorted(folder.glob("*.json")), reader)
        place = str(top)
    body: dict[str, Any] = json.loads(reader.read_text_from_href(place))
    if body.get("type") == "FeatureCollection":
        return body.get("title") or _named_after(place), iter([_item(one, place, reader) for one in body["features"][: MOST_ITEMS + 1]])
    if body.get("type") == "Feature":
        return _named_after(place), iter([_item(body, place, reader)])
    catalogue = pystac.Catalog if body.get("type") == "Catalog" else pystac.Collection
    top_level = catalogue.from_dict(body, href=place)
    top_level._stac_io = reader
    top_level.set_root(top_level)  # else the first link read would ask for it once more
    return top_level.title or top_level.id, top_level.get_items(recursive=True)


def _loose(paths: list[Path], reader: _Reader) -> Iterator[pystac.Item]:
    for path in paths:
        body = json.loads(reader.read_text_from_href(str(path)))
        if isinstance(body, dict) and body.get("type") == "Feature":
            yield _item(body, str(path), reader)


def _item(body: dict[str, Any], place: str, reader: _Reader) -> pystac.Item:
    item = pystac.Item.from_dict(body, href=place)
    item.set_self_href(place)
    return item


def _named_after(place: str) -> str:
    return re.sub(r"\.json$", "", place.rstrip("/").rsplit("/", 1)[-1])


def _reason(error: Exception) -> str:
    if isinstance(error, TerratuneError):
        return error.fact
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    if isinstance(error, httpx.HTTPError):
        return "its server cannot be reached"
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    return "it is not a STAC catalogue"
