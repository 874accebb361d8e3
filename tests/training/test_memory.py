import pytest
import torch

from errors import TrainingError
from training.memory import Pieces, in_pieces, is_out_of_memory


def learner(fits):
    """A step that has room for `fits` tiles; what it was given."""
    seen = []

    def learn(part, share):
        count = part.stop - part.start if part.stop <= 7 else 7 - part.start
        if count > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append((count, share))
        return share

    return learn, seen


def test_a_batch_that_fits_is_taken_whole():
    learn, seen = learner(7)
    pieces = Pieces()
    assert in_pieces(7, pieces, learn, begin=lambda: None) == pytest.approx(1)
    assert seen == [(7, 1.0)] and pieces.count == 1


def test_one_that_does_not_is_halved_until_it_does_and_stays_so():
    learn, seen = learner(2)
    pieces, begun = Pieces(), []
    assert in_pieces(7, pieces, learn, begin=lambda: begun.append(1)) == pytest.approx(1)
    assert [count for count, _ in seen] == [2, 2, 2, 1] and pieces.count == 4
    seen.clear()
    in_pieces(7, pieces, learn, begin=lambda: None)
    assert [count for count, _ in seen] == [2, 2, 2, 1]


def test_a_tile_that_does_not_fit_is_told():
    with pytest.raises(TrainingError, match="even one tile"):
        in_pieces(7, Pieces(), learner(0)[0], begin=lambda: None)


def test_other_errors_pass():
    def broken(part, share):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes"):
        in_pieces(2, Pieces(), broken, begin=lambda: None)


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert not is_out_of_memory(RuntimeError("else"))
