from offboard_core.engine import LONGEST_IN_ALL, LONGEST_SHARE, LONGEST_WAIT, BatchWindow


def test_nobody_is_missing_before_anybody_was_served():
    assert BatchWindow().missing([]) == 0
    assert BatchWindow().patience(0.0) == 0.0


def test_a_lone_robot_never_waits():
    window = BatchWindow()
    for _ in range(3):
        window.served(["a"], 0.020)
        assert window.missing(["a"]) == 0


def test_who_shared_the_last_two_batches_is_waited_for():
    window = BatchWindow()
    window.served(["a"], 0.020)
    window.served(["b", "c"], 0.020)
    assert window.missing(["b"]) == 2
    assert window.missing(["a", "b", "c", "d"]) == 0
    window.served(["b", "c"], 0.020)
    assert window.missing(["b", "c"]) == 0, "a was served three batches ago and is not waited for"


def test_who_is_gone_is_not_waited_for():
    window = BatchWindow()
    window.served(["a", "b"], 0.020)
    window.served(["a", "b"], 0.020)
    window.forget("b")
    assert window.missing(["a"]) == 0


def test_patience_is_a_share_of_the_last_inference_and_never_long():
    window = BatchWindow()
    window.served(["a"], 0.001)
    assert window.patience(0.0) == 0.001 * LONGEST_SHARE
    window.served(["a"], 60.0)
    assert window.patience(0.0) == LONGEST_WAIT


def test_a_stream_of_newcomers_is_waited_for_so_long_and_no_longer():
    window = BatchWindow()
    window.served(["a", "b"], 0.020)
    assert window.patience(0.004) == 0.020 * LONGEST_IN_ALL - 0.004
    assert window.patience(0.006) < 0
