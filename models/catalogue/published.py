"""A published model as its card says it: one STAC item with the MLM extension, read into one value.

What the extension has a field for stands there; what it has none for stands in fields that begin with `terratune:`. A fact that is not known
is absent, never guessed; `terratune:unconfirmed` names those that only a third party states.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pystac
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import BundleError, ModelNotFoundError
from models.architecture import Architecture
from models.card import ModelCard, ModelInput
from models.download import is_address

ITEMS_FOLDER = Path(__file__).resolve().parent / "items"
TASKS = (
    "semantic segmentation",
    "roads",
    "object detection",
    "instance segmentation",
    "scene classification",
    "change detection",
    "promptable",
    "embedding",
)
"""What a model does, as cards are filtered; "embedding": an encoder that knows no class yet, to start a training from."""
Loader = Literal["bundle", "timm", "torchgeo", "torchvision-backbone", "sam", "sam2", "arcgis", ""]
"""How Terratune reads the weights (`runs_here`): "" is not at all."""
PROMPTABLE = frozenset({"sam", "sam2"})
ENCODER_LOADERS = frozenset({"timm", "torchgeo", "torchvision-backbone"})
_MLM_TASKS = {"scene-classification": "scene classification", "classification": "scene classification", "similarity-search": "embedding"}
_SHA256_MULTIHASH = "1220"


class ReportedScore(BaseModel):
    """A score as it was reported."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metric: str
    value: float
    unit: str = ""
    on: str
    """Which data, in plain words."""
    source: str
    """Who says so: an address, or words."""


class PublishedModel(BaseModel):
    """What a card says of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)
    """Also its folder's name among the downloaded models."""
    title: str
    summary: str = ""
    tasks: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    dtype: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Network input = (x - mean) / std, raw units, for each band; empty where unknown."""
    resolution_m: tuple[float, float] | None = None
    """Ground size of pixels that it is made for, from and to."""
    architecture: str = ""
    parameters: int | None = None
    classes: tuple[str, ...] = ()
    loader: Loader = ""
    encoder: Architecture | None = None
    """The network that an encoder becomes here."""
    url: str = ""
    file: str = Field(default="", pattern=r"^([A-Za-z0-9_][A-Za-z0-9._+-]*)?$")
    """Name of the file that is fetched, also in a mirror."""
    sha256: str = Field(default="", pattern=r"^[0-9a-f]{0,64}$")
    """The published digest, or its first digits."""
    megabytes: float | None = None
    """Of the file, where stated; else about, worked out from the count of its numbers."""
    licence: str = ""
    licence_url: str = ""
    training_data: str = ""
    scores: tuple[ReportedScore, ...] = ()
    known_failures: tuple[str, ...] = ()
    citation: str = ""
    page: str = ""
    unconfirmed: tuple[str, ...] = ()
    """Names of facts that are hearsay: "architecture", "resolution", ..."""
    catalogue: str = ""
    """The foreign catalogue that it comes from; empty: ours."""
    trusted: bool = True
    """False: its catalogue was named by a visitor of the page, so addresses are judged before they are asked."""

    @property
    def is_encoder(self) -> bool:
        """Can it become a base model without classes?"""
        return self.loader in ENCODER_LOADERS and self.encoder is not None and self.input is not None

    @property
    def input(self) -> ModelInput | None:
        """The input contract; None where a part of it is unknown."""
        if not (self.bands and self.mean and self.std and self.dtype):
            return None
        low, high = self.resolution_m or (None, None)
        middle = None if low is None or high is None else (low * high) ** 0.5
        return ModelInput(band_names=self.bands, dtype=self.dtype, mean=self.mean, std=self.std, resolution_m=middle, tile_size=256)

    def base_card(self) -> ModelCard:
        """The card of the bundle that an encoder becomes: it knows no class, and its decoder has learnt nothing.

        Raises:
            ValueError: it is no encoder.
        """
        if not self.is_encoder or self.encoder is None or self.input is None:
            raise ValueError(f"{self.name} is no encoder.")
        return ModelCard(
            name=self.name,
            title=self.title,
            summary=self.summary,
            architecture=self.encoder,
            input=self.input,
            classes=(),
            licence=self.licence,
            training_data=f"{self.training_data or 'Not stated'} (encoder); the decoder is untrained.",
            made_by=self.url,
            parameters=self.parameters or 0,
        )


def from_stac(item: pystac.Item, *, catalogue: str = "", trusted: bool = True) -> PublishedModel:
    """Read a card.

    Raises:
        BundleError: it lacks what a card must have, or a field does not hold what it should.
    """
    facts = item.properties
    asset = _model_asset(item)
    if "mlm:name" not in facts or asset is None:
        raise BundleError(f"'{item.id}' is no card of a model: it lacks the fields of STAC's MLM extension.", "Check its catalogue.")
    href = asset.get_absolute_href() or asset.href
    try:
        mean, std = _scaling(facts)
        return PublishedModel(
            name=re.sub(r"[^A-Za-z0-9._-]+", "-", item.id).lstrip("._-"),
            title=facts.get("title") or facts["mlm:name"],
            summary=facts.get("description") or "",
            tasks=tuple(facts.get("terratune:tasks") or dict.fromkeys(_MLM_TASKS.get(t, t.replace("-", " ")) for t in facts["mlm:tasks"])),
            sensors=tuple(facts.get("terratune:sensors") or facts.get("instruments") or ()),
            bands=_bands(facts),
            dtype=facts.get("terratune:data_type"),
            mean=mean,
            std=std,
            resolution_m=facts.get("terratune:resolution_m") or ((facts["gsd"], facts["gsd"]) if facts.get("gsd") else None),
            architecture=facts.get("mlm:architecture") or "",
            parameters=facts.get("mlm:total_parameters"),
            classes=tuple(facts.get("terratune:classes") or _classes(facts)),
            loader=facts.get("terratune:loader") or "",
            encoder=facts.get("terratune:encoder"),
            url=href,
            file=asset.extra_fields.get("terratune:file") or _file_name(href),
            sha256=_digest(asset.extra_fields),
            megabytes=_megabytes(asset.extra_fields),
            licence=facts.get("terratune:licence") or ("" if facts.get("license") in {None, "other", "various"} else facts["license"]),
            licence_url=_link(item, "license"),
            training_data=facts.get("mlm:pretrained_source") or "",
            scores=facts.get("terratune:scores") or (),
            known_failures=tuple(facts.get("terratune:known_failures") or ()),
            citation=facts.get("sci:citation") or facts.get("sci:doi") or "",
            page=_link(item, "about") or _link(item, "cite-as"),
            unconfirmed=tuple(facts.get("terratune:unconfirmed") or ()),
            catalogue=catalogue,
            trusted=trusted,
        )
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) if isinstance(error, ValidationError) else str(error)
        raise BundleError(f"The card '{item.id}' cannot be read ({where}).", "Check its catalogue.") from error


@functools.cache
def published_models() -> tuple[PublishedModel, ...]:
    """The cards that come with Terratune: those that run here first, then by name."""
    found = [from_stac(pystac.Item.from_file(path)) for path in sorted(ITEMS_FOLDER.glob("*.json"))]
    return tuple(sorted(found, key=lambda model: (model.loader != "bundle", not model.is_encoder, model.loader == "")))


def find_published(name: str, models: Iterable[PublishedModel] | None = None) -> PublishedModel:
    """The card with this name.

    Raises:
        ModelNotFoundError: there is none; the message names those that sound alike.
    """
    known = {model.name: model for model in (published_models() if models is None else models)}
    if name not in known:
        words = [word for word in re.split(r"[^a-z0-9]+", name.casefold()) if len(word) > 2]
        alike = [other for other in known if any(word in other for word in words)]
        raise ModelNotFoundError(
            f"There is no model '{name}' in the catalogue.",
            f"Choose one of these: {', '.join((alike or list(known))[:12])}.",
        )
    return known[name]


def _model_asset(item: pystac.Item) -> pystac.Asset | None:
    assets = [asset for asset in item.assets.values() if "mlm:model" in (asset.roles or ())]
    return next((a for a in assets if "mlm:weights" in (a.roles or ())), assets[0] if assets else None)


def _bands(facts: Mapping[str, Any]) -> tuple[str, ...]:
    inputs: Sequence[Any] = facts.get("mlm:input") or ()
    return tuple(band["name"] if isinstance(band, dict) else str(band) for band in inputs[0].get("bands") or ()) if inputs else ()


def _scaling(facts: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation for each band; nothing where the card scales in another way."""
    bands, inputs = _bands(facts), facts.get("mlm:input") or ()
    steps = (inputs[0].get("value_scaling") or []) if inputs else []
    if len(steps) == 1:
        steps = steps * len(bands)
    if len(steps) != len(bands) or any(step.get("type") != "z-score" for step in steps):
        return (), ()
    return tuple(step["mean"] for step in steps), tuple(step["stddev"] for step in steps)


def _classes(facts: Mapping[str, Any]) -> list[str]:
    return [
        one.get("title") or one["name"] for result in facts.get("mlm:output") or () for one in result.get("classification:classes") or ()
    ]


def _digest(fields: Mapping[str, Any]) -> str:
    """`file:checksum` is a multihash in hex: 12 (SHA-256), 20 (32 bytes), digest."""
    checksum = str(fields.get("file:checksum") or "").lower()
    return checksum.removeprefix(_SHA256_MULTIHASH) if len(checksum) == 68 else str(fields.get("terratune:sha256_starts") or "")


def _file_name(href: str) -> str:
    """The last part of an address, without what does not belong into a file's name."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", unquote(urlsplit(href).path.rsplit("/", 1)[-1])).lstrip(".+-")


def _megabytes(fields: Mapping[str, Any]) -> float | None:
    return fields["file:size"] / 1e6 if fields.get("file:size") else fields.get("terratune:size_mb")


def _link(item: pystac.Item, relation: str) -> str:
    """The address that a link leads to; empty where there is none on the web."""
    found = (link.get_absolute_href() or link.href for link in item.get_links(relation))
    return next((href for href in found if is_address(href)), "")
