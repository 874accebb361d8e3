import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.training.tile_sets import UNPAVED, make_base, make_tile_set
from training.report import worst_tiles
from training.run import run
from training.settings import TrainingSettings
from workspace.files import write_json


def matrix(wrong: int) -> list[list[int]]:
    return [[90, 0], [wrong, 10 - wrong]]


def test_the_worst_tiles_are_one_for_each_block_and_never_right_ones():
    by_tile = np.array([matrix(2), matrix(9), matrix(8), matrix(0), matrix(5)])
    assert worst_tiles(by_tile, np.array([0, 1, 1, 2, 3]), 10) == [1, 4, 0]
    assert worst_tiles(by_tile, np.array([0, 1, 1, 2, 3]), 2) == [1, 4]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self.sources, self.open = "", [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("freeze", ["backbone", "all_but_last_layer"])
def test_the_report_is_one_file_that_says_what_was_learnt(tmp_path, freeze):
    make_tile_set(tmp_path / "tiles", drawn=(UNPAVED,), validation=3)
    make_base(tmp_path / "base")
    settings = TrainingSettings(tiles=str(tmp_path / "tiles"), base=str(tmp_path / "base"), epochs=2, batch_size=3, freeze=freeze, name="Tracks <b>&")
    write_json(tmp_path / "run" / "settings.json", settings.model_dump())
    assert run(tmp_path / "run") == 0
    html = (tmp_path / "run" / "report.html").read_text()
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert "Tracks <b>&" in page.text and "<b>" not in html
    assert all(source.startswith(("data:image/png;base64,", "geo:")) for source in page.sources)
    assert len([s for s in page.sources if s.startswith("data:")]) % 3 == 0 and "Where it is most wrong" in page.text
    assert "too few to tell" in page.text
    assert ("Epoch by epoch" in page.text) == (freeze == "backbone")
    rows = re.findall(r"Labelled as.*?</table>", html, re.S)[0].split("<tr>")[1:]
    assert len(rows) == 3  # background, unpaved, paved
    assert "Reads" in page.text and "red, green, blue (uint8, 0.5 m per pixel)" in page.text
