"""A folder of pictures for each class becomes a set in the Imagenet format."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.tiles.test_bring_in import job, tiles  # noqa: F401
from tiles.bring_in import brought_in, work
from tiles.class_folders import as_imagenet, class_folders
from tiles.reader import read_labelled
from tiles.tile_set import open_tile_set
from workspace.jobs import JobReporter


@pytest.fixture
def scenes(tmp_path):
    """Three pictures of each of three classes; two have the same name; a list that nobody needs."""
    home = tmp_path / "scenes"
    for value, name in enumerate(("Dense houses", "forest", "river")):
        (home / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.tile(np.arange(32, dtype=np.uint8)[:, None, None] // 2 + 50 * value + i, (1, 32, 3))).save(home / name / f"{i}.png")
    (home / "labels.csv").write_text("file,class\n")
    return home


def test_each_picture_has_the_class_of_its_folder(scenes):
    made = open_tile_set(as_imagenet(scenes))
    names = {c.value: c.name for c in made.record.classes}
    assert sorted(names.values()) == ["Dense_houses", "forest", "river"], "without blanks, as folders of the format are named"
    for tile in made.record.tiles:
        pixels, labels = read_labelled(made, tile)
        assert pixels.image.min() // 50 == labels.classes[0] - 1


def test_every_class_is_kept_for_the_test(scenes):
    made = open_tile_set(as_imagenet(scenes))
    shown = {read_labelled(made, tile)[1].classes[0] for tile in made.validation}
    assert len(made.record.tiles) == 9 and len(made.validation) >= 1
    shutil.rmtree(scenes)
    assert len(shown) == len(made.validation), "none twice before all were there once"


def test_what_is_something_else_stays_as_it_is(tmp_path, scenes):
    assert class_folders(scenes / "forest") == []
    for name in ("images", "labels"):
        shutil.copytree(scenes / "forest", tmp_path / "pairs" / name)
    assert as_imagenet(tmp_path / "pairs") is None
    assert sorted(p.name for p in (tmp_path / "pairs").iterdir()) == ["images", "labels"]
    shutil.copytree(scenes, tmp_path / "deep" / "a" / "b")
    shutil.copytree(scenes, tmp_path / "deep" / "c" / "d")
    assert as_imagenet(tmp_path / "deep") is None


def test_a_collection_is_brought_in(tiles, scenes):  # noqa: F811
    folder = job(tiles, source=scenes.parent, name="scenes")
    work(JobReporter(folder))
    name, findings = brought_in(folder)
    assert (name, any("where they lie" in finding for finding in findings)) == ("scenes", True)
    assert len(open_tile_set(tiles / name).record.tiles) == 9
    assert (scenes / "forest" / "0.png").exists(), "the source stays as it is"
