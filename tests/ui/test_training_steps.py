from ui.training_steps import step_rows


def epoch(number, rung, iou, seconds=2.0):
    return {"epoch": number, "rung": rung, "iou": {"Road": iou}, "mean_iou": iou, "seconds": seconds}


def test_each_step_shows_its_best_and_which_one_is_kept():
    epochs = [epoch(1, "Last layer", 0.4, 1.0), epoch(2, "Decoder", 0.5), epoch(3, "Decoder", 0.6), epoch(4, "Everything", None), epoch(5, "Everything", 0.3)]
    assert [(r["Step"], r["Epochs"], r["Seconds"], r["Best"], r["Kept"]) for r in step_rows(epochs, 3)] == [
        ("Last layer", 1, 1.0, 40.0, False),
        ("Decoder", 2, 4.0, 60.0, True),
        ("Everything", 2, 4.0, 30.0, False),
    ]


def test_a_run_without_steps_has_no_rows():
    assert step_rows([], 0) == []
