"""Class probabilities of windows, and their mean over eight positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from inference.classify import Classifier, make_classifier


def classifier(seed: int = 0, **options) -> Classifier:
    """A network that sees directions: a random 3 x 3 convolution."""
    torch.manual_seed(seed)
    return make_classifier(nn.Conv2d(2, 3, 3, padding=1), (100.0, 100.0), (50.0, 50.0), "cpu", **options)


def window(rows: int = 24, columns: int = 24) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (2, rows, columns)).astype(np.uint8)


def answer(of: Classifier, values: np.ndarray) -> np.ndarray:
    return of.probabilities([values], [np.ones(values.shape[1:], bool)])[0]


def positions(values: np.ndarray) -> list[np.ndarray]:
    turned = [np.rot90(values, k, (1, 2)) for k in range(4)]
    return [*turned, *(t[:, :, ::-1] for t in turned)]


@pytest.mark.parametrize("shape", [(24, 24), (16, 40)])
def test_eight_looks_answer_the_same_whichever_way_the_picture_lies(shape):
    eight, values = classifier(test_time_augmentation=True), window(*shape)
    straight = answer(eight, values)
    for turned, expected in zip(positions(values), positions(straight), strict=True):
        np.testing.assert_allclose(answer(eight, np.ascontiguousarray(turned)), expected, atol=2e-2)  # bfloat16 where the processor has it
    one = classifier()
    assert np.abs(answer(one, np.ascontiguousarray(np.rot90(values, 1, (1, 2)))) - np.rot90(answer(one, values), 1, (1, 2))).max() > 0.2


def test_eight_looks_are_the_mean_of_the_answers_laid_back():
    one, values = classifier(), window()
    back = [lambda p, k=k: np.rot90(p, -k, (1, 2)) for k in range(4)]
    expected = [lay(answer(one, np.ascontiguousarray(turned))) for lay, turned in zip(back, positions(values)[:4], strict=True)]
    expected += [
        lay(answer(one, np.ascontiguousarray(turned))[:, :, ::-1]) for lay, turned in zip(back, positions(values)[4:], strict=True)
    ]
    np.testing.assert_allclose(answer(classifier(test_time_augmentation=True), values), np.mean(expected, axis=0), atol=1e-5)


def test_odds_are_raised_after_the_mean():
    plain, raised = (classifier(test_time_augmentation=True, odds=odds) for odds in ((1, 1, 1), (1, 1, 4)))
    p, q = answer(plain, window()), answer(raised, window())
    np.testing.assert_allclose(q[2] / q[0], 4 * p[2] / p[0], rtol=1e-4)
    np.testing.assert_allclose(q.sum(0), 1, atol=1e-6)


def test_the_highest_or_lowest_of_eight_answers_counts_where_it_is_asked_for():
    values = window()
    one = classifier()
    answers = []
    for mirrored in (False, True):
        for turns in range(4):
            laid = np.rot90(values, turns, (1, 2))
            found = answer(one, np.ascontiguousarray(laid[:, :, ::-1] if mirrored else laid))
            answers.append(np.rot90(found[:, :, ::-1] if mirrored else found, -turns, (1, 2)))
    for policy, merged in (("max", np.max(answers, axis=0)), ("min", np.min(answers, axis=0))):
        found = answer(classifier(test_time_augmentation=True, merge_policy=policy), values)
        np.testing.assert_allclose(found, merged / merged.sum(axis=0), atol=1e-5)


def test_probabilities_are_the_same_on_any_number_of_threads():
    values, found, before = window(84, 84), [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(answer(classifier(), values))
    torch.set_num_threads(before)
    assert all(np.array_equal(each, found[0]) for each in found)
