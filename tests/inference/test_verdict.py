from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from inference.scores import scores_from
from inference.verdict import chance, doubt, findings
from tests.inference.makers import PAVED


def test_what_chance_may_have_to_do_with_a_score():
    assert "lies in only one square" in doubt("Track", 1, None)
    assert "lies in only 7 squares" in doubt("Track", 7, (-0.2, 0.4))
    assert "(−0.05 to +0.10) could be chance" in doubt("Track", 8, (-0.05, 0.1))
    assert doubt("Track", 8, (0.01, 0.1)) is None
    assert doubt("Track", 8, (-0.004, 0.003)) is None  # nothing changed, and that is certain
    assert doubt("Track", 8, None) is None


@pytest.mark.parametrize(
    ("blocks", "gain", "said"),
    [
        (3, None, "too few to tell"),
        (20, (0.1, 0.3), "the new model is better, by more than chance (IoU +0.10 to +0.30 in 95 of 100 cases)"),
        (20, (-0.3, -0.1), "the new model is worse, by more than chance"),
        (20, (-0.1, 0.2), "could be chance"),
        (20, (-0.003, 0.004), "no difference to speak of"),
    ],
)
def test_each_class_differs_by_more_than_chance_or_not(blocks, gain, said):
    assert said in chance("Track", blocks, gain)


@pytest.mark.parametrize(
    ("found_before", "found_now", "said"),
    [(90, 88, "not forgotten"), (50, 90, "found better"), (90, 30, "mostly forgotten"), (0, 0, "hardly found here by either"), (3, 2, "hardly found")],
)
def test_a_class_that_neither_model_found_was_not_kept(found_before, found_now, said):
    counts = [np.array([[900, 0], [100 - found, found]], np.int64) for found in (found_before, found_now)]
    scores = SimpleNamespace(before=scores_from(counts[0], [PAVED]), after=scores_from(counts[1], [PAVED]))
    report = SimpleNamespace(before=SimpleNamespace(classes=(PAVED.name,)), classes=(PAVED,))
    [finding] = findings(report, scores)
    assert said in finding.said
