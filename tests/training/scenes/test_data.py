import numpy as np
import pytest

from models.card import ModelInput
from tests.training.scenes.makers import FIELD, TOWN, WATER, make_scenes
from training.scenes.data import SceneData, fitted
from workspace.classes import ClassDef

INPUT = ModelInput(band_names=("blue", "red"), mean=(100, 100), std=(50, 50), resolution_m=0.5, tile_size=32)


def classes(*names):
    return [ClassDef(value=i, name=name, colour="#123456") for i, name in enumerate(names, 1)]


@pytest.mark.parametrize("metadata_format", ["Imagenet", "Labeled_Tiles"])
def test_each_tile_has_its_class_and_the_bands_that_the_model_reads(tmp_path, metadata_format):
    tiles = make_scenes(tmp_path / "s", train=3, validation=0, metadata_format=metadata_format)
    data = SceneData(tiles, tiles.record.tiles, INPUT, classes("Town", "Water", "Field"))
    batch = data.batch([0, 1, 2])
    assert batch.classes.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert batch.image.shape == (3, 2, 32, 32)
    water = batch.image[0].mean(dim=(-2, -1)) * 50 + 100
    assert water.tolist() == pytest.approx([140, 40], abs=3), "blue first, as the model reads it"


def test_tiles_of_classes_that_are_not_learnt_are_left_out(tmp_path):
    tiles = make_scenes(tmp_path / "s", train=6, validation=0)
    data = SceneData(tiles, tiles.record.tiles, INPUT, classes("Water", "Town"))
    assert data.truth.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def test_a_tile_may_have_several(tmp_path):
    tiles = make_scenes(tmp_path / "s", train=2, validation=0, metadata_format="MultiLabeled_Tiles", shown=lambda i: [(WATER,), (FIELD, TOWN)][i])
    data = SceneData(tiles, tiles.record.tiles, INPUT, classes("Water", "Field", "Town"))
    assert data.truth.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_a_tile_of_another_size_is_shown_whole():
    image = np.zeros((1, 40, 20), np.float32)
    image[0, :, 10:] = 1
    shown = fitted(image, 20)
    assert shown.shape == (1, 20, 20)
    assert np.allclose(shown[0, :, :5], 0) and np.allclose(shown[0, :, 15:], 0), "nothing beside it"
    assert np.allclose(shown[0, :, 5:9], 0, atol=0.05) and np.allclose(shown[0, :, 11:15], 1, atol=0.05)
