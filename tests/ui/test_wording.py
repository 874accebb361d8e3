from ui.wording import doubt


def test_what_chance_may_have_to_do_with_a_score():
    assert "lies in only one square" in doubt("Track", 1, None)
    assert "lies in only 7 squares" in doubt("Track", 7, (-0.2, 0.4))
    assert "(−0.05 to +0.10) could be chance" in doubt("Track", 8, (-0.05, 0.1))
    assert doubt("Track", 8, (0.01, 0.1)) is None
    assert doubt("Track", 8, (-0.004, 0.003)) is None  # nothing changed, and that is certain
    assert doubt("Track", 8, None) is None
