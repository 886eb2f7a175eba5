"""The one way to call again."""

from streamer.backoff import FIRST_WAIT, LONGEST_WAIT, Backoff


def test_each_wait_is_twice_the_last_up_to_the_longest_and_half_more_by_chance():
    backoff, expected = Backoff(), FIRST_WAIT
    for _ in range(8):
        assert expected <= backoff.next_wait() <= 1.5 * expected
        expected = min(2 * expected, LONGEST_WAIT)
    assert expected == LONGEST_WAIT


def test_after_an_answer_it_begins_anew():
    backoff = Backoff()
    for _ in range(5):
        backoff.next_wait()
    backoff.reset()
    assert backoff.next_wait() <= 1.5 * FIRST_WAIT


def test_two_that_lost_the_same_server_do_not_call_it_at_the_same_moment():
    waits = {Backoff().next_wait() for _ in range(20)}
    assert len(waits) > 10
