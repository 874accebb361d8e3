import math
from typing import get_args

import numpy as np
import pytest
import torch

from training.losses import HEAVIEST, class_weights, dice_loss, loss_of, segmentation_loss
from training.settings import LossName


def logits_for(target, outputs=3, sure=20.0):
    return torch.nn.functional.one_hot(target.clamp(max=outputs - 1), outputs).movedim(-1, 1).float() * sure


def a_target():
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[:, 2:4] = 1
    return target


def test_a_perfect_answer_costs_nothing_a_wrong_one_does():
    target = a_target()
    assert float(segmentation_loss(logits_for(target), target, torch.ones(3))) == pytest.approx(0, abs=1e-4)
    assert float(segmentation_loss(logits_for(1 - target), target, torch.ones(3))) > 10


def test_dice_by_hand():
    target = a_target()  # 16 pixels of class 1
    answer = torch.zeros_like(target)
    answer[:, 2:6] = 1  # 32 claimed, 16 right
    assert float(dice_loss(logits_for(answer), target, target != 255)) == pytest.approx(1 - 2 * 16 / (16 + 32), abs=1e-4)


def test_ignored_pixels_have_no_gradient():
    target = a_target()
    target[:, :, 4:] = 255
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    segmentation_loss(logits, target, torch.ones(3)).backward()
    assert logits.grad[..., 4:].abs().max() == 0
    assert logits.grad[..., :4].abs().max() > 0


def test_nothing_to_learn_from_is_a_zero_loss():
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 8, 8), 255), torch.ones(3))
    loss.backward()
    assert float(loss.detach()) == 0


def test_rare_classes_weigh_more_up_to_a_limit():
    weights = class_weights(np.array([1000, 250, 1, 0]), balance=True)
    assert weights.tolist() == [1.0, 2.0, HEAVIEST, 1.0]
    assert class_weights(np.array([1000, 1]), balance=False).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", get_args(LossName))
def test_every_loss_is_lower_for_what_is_right_and_skips_what_is_ignored(name):
    loss = loss_of(name, torch.tensor([1.0, 2.0, 1.0]))
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[:, 2:5] = 1
    right, wrong = 2 * logits_for(target) - 20, 2 * logits_for(1 - target) - 20  # sure of each class, and against each other
    assert float(loss(right, target)) == pytest.approx(0, abs=1e-3)
    assert float(loss(wrong, target)) > 0.2
    half = target.clone()
    half[:, :4] = 255
    spoilt = right.clone()
    spoilt[:, :, :4] = wrong[:, :, :4]
    assert float(loss(spoilt, half)) == pytest.approx(float(loss(right, half)), abs=1e-6), "what is ignored does not count"
    nothing = loss(right.requires_grad_(), torch.full((1, 8, 8), 255))
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_focal_by_hand():
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.6, 0.4]])).T[None, :, :, None]  # two pixels of class 0
    target = torch.zeros(1, 2, 1, dtype=torch.int64)
    expected = (0.1**2 * -math.log(0.9) + 0.4**2 * -math.log(0.6)) / 2
    assert float(loss_of("focal", torch.ones(2))(logits, target)) == pytest.approx(expected, rel=1e-4)
    target[0, 1] = 1  # which weighs three times as much
    expected = (0.1**2 * -math.log(0.9) + 3 * 0.6**2 * -math.log(0.4)) / 4
    assert float(loss_of("focal", torch.tensor([1.0, 3.0]))(logits, target)) == pytest.approx(expected, rel=1e-4)


def test_tversky_counts_what_is_missed_more_than_a_false_alarm():
    loss = loss_of("tversky", torch.ones(2))
    target = torch.zeros(1, 10, 10, dtype=torch.int64)
    target[:, :, :4] = 1
    missed, alarm = target.clone(), target.clone()
    missed[:, :2, :4] = 0  # 8 pixels
    alarm[:, :2, 4:8] = 1  # 8 pixels
    logits = [10.0 * torch.nn.functional.one_hot(t, 2).movedim(-1, 1).float() for t in (missed, alarm)]
    assert float(loss(logits[0], target)) > float(loss(logits[1], target))
