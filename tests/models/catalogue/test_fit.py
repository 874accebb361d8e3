
import pytest

from models.catalogue.__main__ import imagery_of
from models.catalogue.fit import Imagery, fit, overall, starts_for
from models.catalogue.published import find_published, published_models

RGB = ("red", "green", "blue")
NAIP = Imagery("naip", (*RGB, "nir"), "uint8", 0.6)
SENTINEL = Imagery("s2", ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"), "uint16", 10.0)


def first(image, task=""):
    return starts_for(published_models(), image, task)[0]


@pytest.mark.parametrize(
    ("name", "image", "level", "words"),
    [
        ("paved-roads-starter", NAIP, "suits", "other bands are not used"),
        ("paved-roads-starter", Imagery("drone", RGB, "uint8", 0.1), "care", "6 times finer"),
        ("paved-roads-starter", Imagery("far", RGB, "uint8", 5.0), "care", "As a base model it can still be trained"),
        ("paved-roads-starter", Imagery("photo", RGB, "uint8", None), "care", "does not say how large its pixels are"),
        ("paved-roads-starter", Imagery("16 bit", RGB, "uint16", 0.6), "care", "brightness is measured anew"),
        ("imagenet-resnet18d", Imagery("pan", ("pan",), "uint16", 0.5), "everything", "needs the bands red, green, blue"),
        ("sentinel2-l2a-resnet50-seco-eco", SENTINEL, "suits", "made for 10 m"),
        ("sentinel2-all-resnet18-moco", SENTINEL, "everything", "B10"),
        ("sentinel2-rgb-resnet18-moco", Imagery("aerial", RGB, "uint16", 0.5), "care", "20 times finer"),
        (
            "landsat-oli-sr-resnet18-moco",
            Imagery("unnamed", tuple(f"band_{i}" for i in range(1, 8)), "uint8", 30.0),
            "suits",
            "taken in order",
        ),
        (
            "landsat-oli-sr-resnet18-moco",
            Imagery("unnamed", tuple(f"band_{i}" for i in range(1, 11)), "uint8", 30.0),
            "care",
            "taken in order",
        ),
        ("living-atlas-roads-north-america", Imagery("aerial", RGB, "uint16", 0.4), "no", "save the imagery as uint8"),
        ("living-atlas-roads-north-america", Imagery("aerial", RGB, "uint8", 0.4), "suits", "0.3 to 0.5 m"),
        ("living-atlas-roads-north-america", Imagery("far", RGB, "uint8", 10.0), "no", "smaller pixels"),
        ("living-atlas-roads-north-america", Imagery("pan", ("pan",), "uint8", 0.4), "no", "needs the bands"),
        ("imagenet-resnet18d", Imagery("drone", RGB, "uint8", 0.1), "suits", "has not seen the ground from above"),
        ("imagenet-resnet18d", Imagery("surface", ("gray",), "float32", 2.0), "everything", "often no picture but heights"),
        ("mobile-sam", Imagery("anything", ("a", "b"), "float32", None), "suits", "as it is shown"),
        ("sam-vit-b", Imagery("anything", ("a", "b"), "float32", None), "suits", "as it is shown"),
    ],
)
def test_a_model_suits_or_it_is_said_what_to_do(name, image, level, words):
    found = fit(find_published(name), image)
    assert found.level == level, found
    assert words in " ".join(found.notes)


def test_nothing_is_said_of_reading_what_a_model_cannot_read():
    found = fit(find_published("paved-roads-starter"), Imagery("surface", ("gray",), "float32", 2.0))
    assert found.level == "everything" and "is resampled for it" not in " ".join(found.notes)
    assert "Train 'Everything', or choose another start" in " ".join(found.notes)


def test_of_several_rasters_the_worst_counts():
    starter = find_published("paved-roads-starter")
    assert overall(starter, [NAIP, SENTINEL]).level == "care"
    assert overall(starter, []) is None


@pytest.mark.parametrize(
    ("image", "task", "name"),
    [
        (NAIP, "", "paved-roads-starter"),
        (SENTINEL, "", "sentinel2-l2a-resnet50-seco-eco"),
        (Imagery("drone", RGB, "uint8", 0.1), "", "imagenet-resnet18d"),
        (Imagery("drone", RGB, "uint8", 0.1), "roads", "paved-roads-starter"),
        (SENTINEL, "roads", "sentinel2-l2a-resnet50-seco-eco"),
        (NAIP, "promptable", "mobile-sam"),
        (Imagery("radar", ("VV", "VH"), "float32", 10.0), "", "sentinel1-resnet50-moco"),
        (Imagery("photo", RGB, "uint8", None), "", "imagenet-resnet18d"),
    ],
)
def test_what_to_start_from(image, task, name):
    assert first(image, task).model.name == name


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("path", "name", "level"),
    [
        ("naip_roads/images/palm_springs_2020_64.tif", "paved-roads-starter", "suits"),
        ("multispectral/L7_ETMs.tif", "landsat-etm-sr-resnet18-moco", "suits"),
        ("multispectral/sentinel2_8band_uint16.tif", "sentinel2-rgb-resnet18-moco", "care"),
        ("multispectral/naip_5m_4band_m_4709963_se_14_1_20170827.tif", "sentinel2-rgb-resnet50-satlas", "care"),
        ("buildings_oam_banepa/images/OAM-386690-220241-19.tif", "imagenet-resnet18d", "suits"),
        ("scenes_ucmerced/agricultural/agricultural07.tif", "imagenet-resnet18d", "suits"),
        ("multispectral/dsm_float32_nodata.tif", "imagenet-resnet18d", "everything"),
        ("buildings_spacenet_atlanta/sample_geotiff.tif", "paved-roads-starter", "everything"),
    ],
)
def test_what_to_start_from_for_real_rasters(shared_data, path, name, level):
    best = first(imagery_of(str(shared_data / path)))
    assert (best.model.name, best.fit.level) == (name, level)
