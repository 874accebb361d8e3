from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from inference.report import ClassArea, ClassCertainty, ScoreReport, read_report
from inference.scores import scores_from
from inference.settings import read_settings
from inference.sheet import make_sheet
from inference.true_area import TrueArea
from tests.inference.comparison import CLASSES, finished_comparison


class Sources(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in {"src", "href"}]


def sheet(job, **changes) -> str:
    report = read_report(job).model_copy(update=changes)
    return make_sheet(job, read_settings(job), report, "aaaa", credit="© <City>").read_text(encoding="utf-8")


def test_it_needs_nothing_but_itself_and_takes_names_as_text(tmp_path):
    html = sheet(finished_comparison(tmp_path, title="<script>alert(1)</script>"))
    sources = Sources()
    sources.feed(html)
    assert "script" not in sources.tags and "link" not in sources.tags
    assert all(one.startswith(("data:image/png;base64,", "geo:")) for one in sources.found)
    assert "&lt;script&gt;alert(1)" in html and "© &lt;City&gt;" in html
    assert "@media print" in html


def test_it_says_what_became_better_how_much_ground_and_where(tmp_path):
    counts = np.array([[900, 10, 0], [20, 60, 0], [0, 0, 50]])
    scores, gain = scores_from(counts, CLASSES), (0.4, 0.7)
    sure = tuple(ClassCertainty(value=c.value, blocks=12, before=gain, after=gain, gain=gain) for c in CLASSES)
    area = ClassArea(value=2, area=TrueArea(300.0, 200.0, 410.0))
    held_out = ScoreReport(on="the held-out places", before=scores, after=scores, certainty=sure, areas=(area,))
    html = " ".join(re.sub(r"<[^>]+>", " ", sheet(finished_comparison(tmp_path), held_out=held_out)).split())
    assert "75 % of it is found now" in html and "better, by more than chance (IoU +0.40 to +0.70" in html
    assert "Unpaved road 0 m² 300 m²" in html  # 120 x 10 pixels of a quarter of a square metre
    assert "truly 300 m², likely 200 m² to 410 m²" in html
    assert "1. " in html and "m² changed" in html


def test_without_scores_it_says_so(tmp_path):
    assert "there are no scores" in sheet(finished_comparison(tmp_path))
