"""The metadata formats of ArcGIS's training-data export: how the labels of one tile are written, counted, read and checked."""

from errors import TileSetFormatError
from tiles.formats.base import TileFormat
from tiles.formats.classified_tiles import ClassifiedTiles
from tiles.formats.coco import Coco
from tiles.formats.cyclegan import CycleGan
from tiles.formats.export_tiles import ExportTiles
from tiles.formats.imagenet import Imagenet
from tiles.formats.kitti import Kitti
from tiles.formats.labeled_tiles import LabeledTiles
from tiles.formats.multi_labeled_tiles import MultiLabeledTiles
from tiles.formats.panoptic_segmentation import PanopticSegmentation
from tiles.formats.pascal_voc import PascalVoc
from tiles.formats.rcnn_masks import RcnnMasks
from tiles.formats.yolo import Yolo

FORMATS: dict[str, TileFormat] = {
    f.name: f
    for f in (
        ClassifiedTiles(),
        RcnnMasks(),
        PanopticSegmentation(),
        PascalVoc(),
        Coco(),
        Yolo(),
        Kitti(),
        LabeledTiles(),
        Imagenet(),
        MultiLabeledTiles(),
        ExportTiles(),
        CycleGan(),
    )
}
"""By the name that stands as MetaDataMode in the side files."""


def tile_format(name: str) -> TileFormat:
    """The format of this name.

    Raises:
        TileSetFormatError: it is not known here.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise TileSetFormatError(
            f"The metadata format '{name}' is not known here.", f"Export the tiles again as one of {', '.join(FORMATS)}."
        ) from None


__all__ = ["FORMATS", "TileFormat", "tile_format"]
