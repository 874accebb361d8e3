import numpy as np

from models.card import ModelInput
from tests.models.cards import a_card
from tests.training.tile_sets import CLASSES
from tiles.tile_set import TileClass
from training.targets import kept_targets, plan_outputs
from workspace.classes import ClassDef

DIRT = (TileClass(value=1, name="Dirt road", colour="#ff9f1c"),)


def test_equal_names_are_one_class():
    plan = plan_outputs(a_card(), CLASSES, keep_old=True)
    assert [c.name for c in plan.classes] == ["Unpaved road", "Paved road"]
    assert plan.old_outputs == (0, 2)
    assert plan.kept == (2,)
    assert plan.lookup(CLASSES)[[0, 1, 2, 255]].tolist() == [0, 2, 1, 255]


def test_a_class_left_out_does_not_count_but_is_reminded_of():
    plan = plan_outputs(a_card(), CLASSES, keep_old=True, left_out=("paved road",))
    assert [c.name for c in plan.classes] == ["Unpaved road", "Paved road"], "the base model knows it, and keeps it"
    assert plan.lookup(CLASSES)[[0, 1, 2]].tolist() == [0, 255, 1]
    assert plan.lookup(CLASSES, reminders=True)[[0, 1, 2]].tolist() == [0, 2, 1]
    forgotten = plan_outputs(a_card(), CLASSES, keep_old=False, left_out=("Paved road",))
    assert [c.name for c in forgotten.classes] == ["Unpaved road"]
    assert forgotten.lookup(CLASSES, reminders=True)[1] == 255


def test_an_old_class_is_kept_with_a_value_of_its_own():
    plan = plan_outputs(a_card(), DIRT, keep_old=True)
    assert [(c.name, c.value) for c in plan.classes] == [("Dirt road", 1), ("Paved road", 2)]


def test_without_keeping_only_the_tiles_classes_remain():
    plan = plan_outputs(a_card(), DIRT, keep_old=False)
    assert [c.name for c in plan.classes] == ["Dirt road"]
    assert plan.old_outputs == (0, 0)
    assert plan.kept == ()


def test_two_old_classes_never_share_a_value():
    old = tuple(ClassDef(value=v, name=f"old {v}", colour="#000000") for v in (1, 2, 3))
    plan = plan_outputs(a_card(classes=old), DIRT, keep_old=True)
    values = [c.value for c in plan.classes]
    assert len(set(values)) == 4
    assert values[0] == 1
    assert plan.classes[2].name == "old 2"
    assert isinstance(a_card().input, ModelInput)


def test_what_the_base_is_sure_of_stays_where_nothing_was_drawn():
    target = np.zeros((9, 12), np.uint8)
    target[:, 0] = 1
    target[0, :] = 255
    seen = np.full(target.shape, 2, np.uint8)
    seen[8] = 0
    sure = np.ones(target.shape, bool)
    sure[7] = False
    made = kept_targets(target, seen, sure, (2,))
    assert (made[1:7, 4:] == 2).all()
    assert (made[1:7, 1:4] == 255).all()  # the rim of the drawn line
    assert (made[7:, 1:] == 0).all()  # unsure, or not seen
    assert (made[1:, 0] == 1).all()
    assert (made[0] == 255).all()


def test_answers_that_are_not_wanted_change_nothing():
    target = np.zeros((4, 4), np.uint8)
    assert not kept_targets(target, np.full((4, 4), 1, np.uint8), np.ones((4, 4), bool), (2,)).any()
