"""Which network a model is: a few names and numbers, enough to build it again. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Task = Literal["semantic segmentation", "object detection", "instance segmentation", "scene classification", "change detection"]
"""What a model answers: a class for each pixel; boxes; outlines; a class for a whole tile; a class for each pixel of a pair of images."""

Decoder = Literal["light", "unet", "fpn", "deeplabv3plus", "pspnet", "upernet", "segformer", "linknet"]
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
    several: bool = Field(default=False, description="A tile may have several classes, or none; else it has the likeliest one.")


_PyramidSizes = Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=8)]
ResNet = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
LEVELS = 5
"""Of a whole ResNet."""


class ArcGISArchitecture(_Strict):
    """A class for each pixel: a network that ArcGIS can rebuild, by the name that ArcGIS has for it."""

    kind: Literal["arcgis"] = "arcgis"
    model: Literal["UnetClassifier", "DeepLab", "PSPNetClassifier", "MultiTaskRoadExtractor", "ConnectNet"] = "UnetClassifier"
    backbone: ResNet = "resnet34"
    narrow_end: bool = Field(default=True, description="U-Net: half the channels between the two convolutions after the image has joined.")
    roads: Literal["linknet", "hourglass"] = Field(default="linknet", description="Road models: which network; the hourglass has no backbone.")
    orientations: int = Field(default=19, ge=2, le=361, description="Road models: directions that the second branch tells apart, and none.")
    pyramid: _PyramidSizes = Field(default=(1, 2, 3, 6), description="PSPNet: into how many parts each level cuts the picture, down and across.")
    unet_end: bool = Field(default=True, description="PSPNet: goes on as a U-Net; else it is enlarged at once.")

    @property
    def leads(self) -> bool:
        """Is it a road model, which learns ways besides roads, and reads raw values?"""
        return self.model in ROAD_MODELS

    @property
    def encoder(self) -> str:
        """The name for people."""
        return f"{self.model}, {'hourglass' if self.leads and self.roads == 'hourglass' else self.backbone}"


ROAD_MODELS = ("MultiTaskRoadExtractor", "ConnectNet")

ArcGISDetectorName = Literal["MaskRCNN", "FasterRCNN", "RetinaNet", "SingleShotDetector"]
_DETECTORS: dict[str, Detector] = {"MaskRCNN": "maskrcnn", "FasterRCNN": "fasterrcnn", "RetinaNet": "retinanet", "SingleShotDetector": "ssd"}
_Share = Annotated[float, Field(gt=0, le=64)]
MOST_SSD_BOXES = 100_000


class ArcGISDetectorArchitecture(_Strict):
    """Boxes, or outlines: a detector that ArcGIS can rebuild, by the name that ArcGIS has for it."""

    kind: Literal["arcgis-objects"] = "arcgis-objects"
    model: ArcGISDetectorName = "MaskRCNN"
    backbone: ResNet = "resnet50"
    scales: tuple[_Share, ...] = Field(default=(1.0, 2 ** (-1 / 3), 2 ** (-2 / 3)), min_length=1, max_length=16, description="RetinaNet: sizes of boxes.")
    ratios: tuple[_Share, ...] = Field(default=(0.5, 1.0, 2.0), min_length=1, max_length=16, description="RetinaNet: their height to width.")
    grids: tuple[Annotated[int, Field(ge=1, le=128)], ...] = Field(
        default=(4, 2, 1), min_length=1, max_length=16, description="SSD: cells of each grid, down and across."
    )
    zooms: tuple[_Share, ...] = Field(default=(1.0,), min_length=1, max_length=16, description="SSD: sizes of boxes, in cells.")
    box_shapes: tuple[tuple[_Share, _Share], ...] = Field(
        default=((1.0, 1.0),), min_length=1, max_length=16, description="SSD: their height and width, in cells."
    )
    ssd_version: Literal[1, 2] = Field(default=2, description="SSD: how grids follow one another.")
    side: int = Field(default=256, ge=32, le=4096, description="SSD: side of the pictures it is made for, in pixels.")

    @model_validator(mode="after")
    def _few_enough(self) -> ArcGISDetectorArchitecture:
        boxes = sum(grid**2 for grid in self.grids) * self.boxes_per_cell
        if boxes > MOST_SSD_BOXES:
            raise ValueError(f"Its grids have {boxes:,} boxes; more than {MOST_SSD_BOXES:,} are not looked at.")
        return self

    @property
    def detector(self) -> Detector:
        return _DETECTORS[self.model]

    @property
    def boxes_per_cell(self) -> int:
        return len(self.zooms) * len(self.box_shapes)

    @property
    def encoder(self) -> str:
        """The name for people."""
        return f"{self.model}, {self.backbone}"


class ArcGISSceneArchitecture(_Strict):
    """One class for a whole tile: ArcGIS's FeatureClassifier."""

    kind: Literal["arcgis-scene"] = "arcgis-scene"
    backbone: ResNet = "resnet34"
    several: bool = Field(default=False, description="A tile may have several classes, or none; else it has the likeliest one.")

    @property
    def encoder(self) -> str:
        """The name for people."""
        return f"FeatureClassifier, {self.backbone}"


AnyArcGIS = ArcGISArchitecture | ArcGISDetectorArchitecture | ArcGISSceneArchitecture
AnyDetector = DetectorArchitecture | ArcGISDetectorArchitecture
AnySceneArchitecture = SceneArchitecture | ArcGISSceneArchitecture


class OnnxArchitecture(_Strict):
    """A class for each pixel: a finished graph of operations, run by ONNX Runtime. It predicts, but cannot be fine-tuned."""

    kind: Literal["onnx"] = "onnx"
    size_bytes: int = Field(gt=0, description="Of the ONNX file, which lies among the weights.")
    gives: Literal["logits", "probabilities", "probability"] = Field(
        default="probabilities", description="What comes out: a logit or a probability for each output, or one probability of the only class."
    )
    stride: int = Field(default=1, ge=1, le=4096, description="Image sides have to be multiples of this.")
    side: int | None = Field(default=None, ge=1, le=8192, description="Where the graph takes images of one size only: their side.")

    @property
    def encoder(self) -> str:
        """The name for people."""
        return "ONNX"


def resnet_of(architecture: AnyArchitecture) -> ResNet | None:
    """The whole plain ResNet that is the encoder, which ArcGIS's networks stand on; None where it is another one, or a part of one."""
    if isinstance(architecture, ArcGISArchitecture):
        return None if architecture.leads and architecture.roads == "hourglass" else architecture.backbone
    if not isinstance(architecture, (Architecture, DetectorArchitecture, SceneArchitecture)) or architecture.encoder_levels < LEVELS:
        return None
    name = architecture.encoder.split(".")[0]  # what follows says which weights of timm's
    return next((resnet for resnet in get_args(ResNet) if resnet == name), None)


_TRANSFORMERS = ("pvt_v2_", "swin_", "swinv2_", "twins_")


def is_transformer(architecture: AnyArchitecture) -> bool:
    """Is the encoder one of timm's transformers that are built here? They can learn through adapters (`models.adapters`)."""
    return architecture.encoder.startswith(_TRANSFORMERS)


def _kind(value: Any) -> str:
    """Cards from before there were kinds say a class for each pixel."""
    return str(value.get("kind", "pixels") if isinstance(value, dict) else value.kind)


AnyArchitecture = Annotated[
    Annotated[Architecture, Tag("pixels")]
    | Annotated[DetectorArchitecture, Tag("objects")]
    | Annotated[SceneArchitecture, Tag("scene")]
    | Annotated[ArcGISArchitecture, Tag("arcgis")]
    | Annotated[ArcGISDetectorArchitecture, Tag("arcgis-objects")]
    | Annotated[ArcGISSceneArchitecture, Tag("arcgis-scene")]
    | Annotated[OnnxArchitecture, Tag("onnx")],
    Discriminator(_kind),
]


def task_of(architecture: AnyArchitecture) -> Task:
    """What a model of this architecture answers."""
    if isinstance(architecture, (ArcGISArchitecture, OnnxArchitecture)):
        return "semantic segmentation"
    if isinstance(architecture, AnyDetector):
        return "instance segmentation" if architecture.detector == "maskrcnn" else "object detection"
    if isinstance(architecture, AnySceneArchitecture):
        return "scene classification"
    return "semantic segmentation" if architecture.images == 1 else "change detection"
