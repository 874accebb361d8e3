import pytest

from models.catalogue.published import find_published, published_models
from models.catalogue.search import GROUND_SIZES, LICENCE_KINDS, Filter, licence_kind, matching, sensors_of


def names(tmp_path, **wanted):
    return {model.name for model in matching(published_models(), Filter(**wanted), tmp_path)}


def test_nothing_asked_is_everything(tmp_path):
    assert len(names(tmp_path)) == len(published_models())


@pytest.mark.parametrize(
    ("wanted", "inside", "outside"),
    [
        ({"words": "Sentinel moco"}, "sentinel2-all-resnet18-moco", "sentinel2-all-resnet50-dino"),
        ({"task": "object detection"}, "coco-fcos-resnet50", "coco-fcn-resnet50"),
        ({"sensor": "Landsat 7"}, "landsat-etm-sr-resnet18-moco", "landsat-oli-sr-resnet18-moco"),
        ({"bands": "colours"}, "imagenet-resnet18", "sentinel1-resnet50-moco"),
        ({"bands": "more"}, "sentinel1-resnet50-moco", "imagenet-resnet18"),
        ({"ground_size": "0.3 to 1 m"}, "paved-roads-starter", "imagenet-resnet18"),
        ({"ground_size": "5 to 20 m"}, "sentinel2-all-resnet18-moco", "landsat-oli-sr-resnet18-moco"),
        ({"licence": "non-commercial"}, "imagenet-convnextv2-nano", "imagenet-convnext-tiny"),
        ({"licence": "own terms"}, "dinov3-convnext-tiny", "dinov2-vit-small"),
        ({"licence": "not stated"}, "fmow-rgb-resnet50-gassl", "imagenet-resnet18"),
        ({"megabytes": 25}, "imagenet-mobilenetv3-small", "imagenet-resnet50"),
        ({"megabytes": 25}, "imagenet-efficientnet-b0", "living-atlas-tree-detection"),
        ({"runs": True}, "coco-maskrcnn-resnet50", "coco-ssdlite-mobilenetv3"),
        ({"downloaded": True}, "paved-roads-starter", "imagenet-resnet18"),
    ],
)
def test_each_filter(tmp_path, wanted, inside, outside):
    found = names(tmp_path, **wanted)
    assert inside in found
    assert outside not in found


def test_every_choice_of_a_filter_finds_something(tmp_path):
    for kind in LICENCE_KINDS:
        assert names(tmp_path, licence=kind)
    for size in GROUND_SIZES:
        assert names(tmp_path, ground_size=size)
    for sensor in sensors_of(published_models()):
        assert names(tmp_path, sensor=sensor)


def test_licences_by_their_names():
    assert licence_kind(find_published("imagenet-resnet18")) == "open"
    assert licence_kind(find_published("oam-tree-cover-unet-resnet50")) == "non-commercial"
    assert licence_kind(find_published("living-atlas-ship-detection")) == "own terms"
