import pytest
import torch

from training.schedule import learning_schedule
from training.settings import TrainingSettings


def rates(settings, steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([{"params": [weight], "lr": 1.0}, {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.1}])
    schedule = learning_schedule(optimiser, settings, steps)
    seen = []
    for _ in range(settings.epochs * steps):
        seen.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(("course", "top"), [("cosine", 5), ("one_cycle", 15)])
def test_the_rate_rises_then_fades(course, top):
    seen = rates(TrainingSettings(tiles="x", epochs=5, schedule=course), 10)
    first = [rate for rate, _ in seen]
    highest = first.index(max(first))
    assert abs(highest - top) <= 1
    assert max(first) == pytest.approx(1.0, rel=0.01)
    assert first[0] < 0.3 and first[-1] < 0.05
    assert first[: highest + 1] == sorted(first[: highest + 1]) and first[highest:] == sorted(first[highest:], reverse=True)
    assert all(encoder == pytest.approx(rest / 10) for rest, encoder in seen)


@pytest.mark.parametrize("course", ["cosine", "one_cycle"])
def test_a_single_step_is_enough(course):
    assert len(rates(TrainingSettings(tiles="x", epochs=1, schedule=course), 1)) == 1
