from labeling.prompt.turns import ABANDONED_AFTER_S, Turns


def drained(turns, now=0.0):
    keys = []
    while (turn := turns.next(now)) is not None:
        keys.append(turn[0])
        turns.done(turn[0])
    return keys


def test_owners_take_turns_and_keep_their_own_order():
    turns = Turns()
    for key in ("a1", "a2", "a3"):
        turns.ask("anna", key, key, 0.0)
    turns.ask("ben", "b1", "b1", 1.0)
    turns.ask("cleo", "c1", "c1", 2.0)
    assert drained(turns) == ["a1", "b1", "c1", "a2", "a3"]


def test_one_who_was_just_served_comes_last():
    turns = Turns()
    turns.ask("anna", "a1", 1, 0.0)
    turns.ask("ben", "b1", 1, 0.0)
    assert turns.next(0.0)[0] == "a1"
    turns.done("a1")
    turns.ask("anna", "a2", 1, 0.0)
    assert drained(turns) == ["b1", "a2"]


def test_the_same_chip_is_done_once_for_all_who_want_it():
    turns = Turns()
    turns.ask("anna", "x", 1, 0.0)
    turns.ask("ben", "x", 1, 0.0)
    turns.leave("anna")
    assert turns.worth_going_on("x", 0.0)
    assert drained(turns) == ["x"]


def test_what_nobody_asks_for_any_more_is_forgotten():
    turns = Turns()
    turns.ask("anna", "a", 1, 0.0)
    turns.ask("ben", "b", 1, ABANDONED_AFTER_S - 1)
    assert drained(turns, now=ABANDONED_AFTER_S + 1) == ["b"]


def test_leaving_stops_what_is_at_work():
    turns = Turns()
    turns.ask("anna", "a", 1, 0.0)
    assert turns.next(0.0)[0] == "a"
    turns.leave("anna")
    assert not turns.worth_going_on("a", 0.0)


def test_idle_work_comes_last_and_gives_way():
    turns = Turns()
    turns.when_idle("anna", {"n1": 1, "n2": 2}, 0.0)
    assert turns.next(0.0) == ("n1", 1, True)
    turns.ask("ben", "b", 1, 0.0)
    assert not turns.worth_going_on("n1", 0.0)
    assert turns.next(0.0)[0] == "b"
    turns.when_idle("anna", {"n3": 3}, 0.0)
    assert drained(turns) == ["b", "n3"]


def test_an_idle_job_that_is_wanted_now_is_no_longer_idle():
    turns = Turns()
    turns.when_idle("anna", {"x": 1}, 0.0)
    turns.ask("anna", "x", 1, 0.0)
    assert turns.next(0.0) == ("x", 1, False)
    assert drained(turns) == ["x"]


def test_how_many_come_first():
    turns = Turns()
    turns.ask("anna", "a1", 1, 0.0)
    turns.ask("ben", "b1", 1, 0.0)
    turns.ask("ben", "b2", 1, 0.0)
    assert turns.ahead("ben", "b2") == 2
    assert turns.ahead("ben", "gone") == 0
