"""When the encoder trains alone, on scripted losses and scripted mutual information."""

import math

import pytest
import torch

from fairseq_ami.optim.lagging import INNER, JOINT, OUTER, STEPPED, LaggingSchedule


def update(schedule, loss=1.0, tokens=1.0, parts=1):
    """One applied update of *loss* per token; returns its phase."""
    phase = schedule.phase
    for _ in range(parts):
        schedule.add(phase, torch.tensor([loss * tokens / parts, tokens / parts], dtype=torch.float64))
    schedule.hold()
    schedule.commit(phase)
    return phase


def play(schedule, losses):
    """Phases of updates with these losses per token."""
    return [update(schedule, loss) for loss in losses]


def validate(schedule, *batches):
    """(MI, sentences) of each validation batch; what comes next decides."""
    schedule.start_validation()
    for information, sentences in batches:
        schedule.add_information(information * sentences, sentences)


def test_a_loss_that_keeps_falling_stops_at_the_limit():
    """99 steps of the encoder, one of the decoder, again and again."""
    phases = play(LaggingSchedule(), [1 / (1 + i) for i in range(250)])
    assert phases == ([INNER] * 99 + [OUTER]) * 2 + [INNER] * 50


def test_two_windows_at_least():
    """The first window has nothing to be compared with; a worse second one ends the loop after 30 steps."""
    assert play(LaggingSchedule(), [1.0] * 15 + [1.1] * 30)[:32] == [INNER] * 30 + [OUTER, INNER]


def test_equal_windows_go_on():
    """Worse means higher: a loss that stays the same is not."""
    assert play(LaggingSchedule(), [1.0] * 100) == [INNER] * 99 + [OUTER]


def test_the_average_of_a_window_decides_not_its_last_step():
    """Falling within each window, but the third window's average is the highest."""
    losses = [3.0, 2.0, 1.0, 2.9, 1.9, 0.9, 3.5, 2.0, 0.6]
    assert play(LaggingSchedule(limit=50, window=3), [*losses, 0, 0]) == [INNER] * 9 + [OUTER, INNER]


def test_each_inner_loop_starts_anew():
    """The windows of the loop before are forgotten, complete or not."""
    schedule = LaggingSchedule(limit=5, window=2)
    assert play(schedule, [0.1, 0.1, 0.1, 0.1, 0.1, 9.0]) == [INNER] * 5 + [OUTER]
    # a first window of 5.0 is not compared with 0.1, and the fifth loss above belongs to no window
    assert play(schedule, [5.0, 5.0, 4.0, 4.0, 3.0, 3.0]) == [INNER] * 5 + [OUTER]


def test_losses_are_per_token():
    """A window of long sentences is not worse than one of short ones; batches of a window are weighted by tokens."""
    schedule = LaggingSchedule(limit=50, window=2)
    for loss, tokens in ((1.0, 10), (1.0, 10), (0.9, 1000), (0.9, 1000)):
        assert update(schedule, loss, tokens) == INNER
    for loss, tokens in ((2.0, 1), (0.85, 100)):  # weighted 0.861, plain mean 1.4
        assert update(schedule, loss, tokens) == INNER
    assert schedule.phase == INNER


def test_micro_batches_are_one_update():
    whole, parts = (LaggingSchedule(limit=7, window=3) for _ in range(2))
    for loss in (3.0, 2.0, 1.0, 4.0, 4.0, 4.0, 1.0):
        assert update(whole, loss, 8) == update(parts, loss, 8, parts=4)
        assert whole.state_dict() == parts.state_dict()


def test_an_update_lost_to_overflow_does_not_count():
    schedule = LaggingSchedule(limit=2)
    schedule.add(INNER, torch.tensor([100.0, 1.0]))
    schedule.hold()  # never committed
    assert play(schedule, [1.0, 1.0, 1.0]) == [INNER, INNER, OUTER]


def test_less_information_ends_it():
    """A rise and a standstill go on, a fall is the end, and there is no way back."""
    schedule = LaggingSchedule(limit=2)
    for information in (0.5, 0.7, 0.7):
        validate(schedule, (information, 10))
        schedule.end_validation()
        assert schedule.aggressive
    validate(schedule, (0.9, 1), (0.6, 9))  # 0.63, by sentences; the mean of the batches were 0.75
    schedule.end_validation()
    assert schedule.phase == JOINT
    validate(schedule, (5.0, 10))
    schedule.end_validation()
    assert play(schedule, [1.0] * 3) == [JOINT] * 3


def test_only_a_validation_decides():
    """Called before every update: without a validation in between nothing happens."""
    schedule = LaggingSchedule(limit=9)
    validate(schedule, (0.5, 10))
    for _ in range(3):
        schedule.end_validation()
        assert update(schedule) == INNER
    schedule.start_validation()
    schedule.end_validation()
    assert schedule.aggressive and schedule.previous_information == 0.5


def test_the_end_comes_in_the_middle_of_an_inner_loop():
    schedule = LaggingSchedule(limit=9)
    validate(schedule, (0.5, 1))
    schedule.end_validation()
    update(schedule)
    validate(schedule, (0.4, 1))
    schedule.end_validation()
    assert schedule.phase == JOINT and STEPPED[schedule.phase] == {"encoder", "decoder", "critic"}


def test_validations_within_the_interval_do_not_count():
    """Information falls at once, but only every second decoder step looks at it."""
    schedule = LaggingSchedule(limit=1, interval=2)
    seen = []
    for information in (0.9, 0.5, 0.4, 0.3, 0.2, 0.1):
        update(schedule)  # encoder
        update(schedule)  # decoder
        validate(schedule, (information, 1))
        schedule.end_validation()
        seen.append((schedule.aggressive, schedule.previous_information))
    first = -float("inf")
    assert seen == [(True, first), (True, 0.5), (True, 0.5), (False, 0.3), (False, 0.3), (False, 0.3)]


def test_who_steps():
    schedule = LaggingSchedule(limit=1)
    assert schedule.phase == INNER and STEPPED[schedule.phase] == {"encoder"}
    update(schedule)
    assert schedule.phase == OUTER and STEPPED[schedule.phase] == {"decoder", "critic"}


@pytest.mark.parametrize("steps", range(0, 14))
def test_a_copy_made_at_any_update_goes_on_as_the_original(steps, tmp_path):
    """In an inner loop, at its end, between two; and between a validation and the next update."""
    losses = [math.sin(3 * i) for i in range(40)]
    schedule = LaggingSchedule(limit=7, window=2)
    play(schedule, losses[:steps])
    validate(schedule, (0.3, 5))
    schedule.end_validation()
    validate(schedule, (0.2 if steps % 2 else 0.4, 5))
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    copy = LaggingSchedule(limit=7, window=2)
    copy.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (schedule, copy):
        each.end_validation()
    assert copy.aggressive == schedule.aggressive == (steps % 2 == 0)
    assert play(copy, losses[steps:]) == play(schedule, losses[steps:])
    assert copy.state_dict() == schedule.state_dict()
