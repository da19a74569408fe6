"""Who plays when, against tables written out by hand."""

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.schedules import PRETRAIN, PhaseSchedule, parse_phase_cycle, updates_in

CYCLE = (("noise", 1), ("forward", 2), ("backward", 3))
ALL = frozenset({"noise", "forward", "backward"})
LETTERS = {PRETRAIN: "p", "noise": "n", "forward": "f", "backward": "b"}


def play(schedule, updates):
    return "".join(LETTERS[schedule.phase(update)] for update in range(updates))


def test_phases_written_out():
    """Two of pretraining, three of noise, then the cycle for ever."""
    assert play(PhaseSchedule(CYCLE, ALL, 2, 3), 20) == "ppnnnnffbbbnffbbbnff"


def test_a_cycle_alone_starts_at_once():
    """And in the order in which it was written."""
    assert play(PhaseSchedule((("backward", 2), ("noise", 1), ("forward", 1)), ALL), 9) == "bbnfbbnfb"


@pytest.mark.parametrize(
    "players, expected",
    [
        ({"forward", "backward"}, "ppffbbbffbbb"),
        ({"noise", "forward"}, "ppnnnnffnffn"),
        ({"noise", "backward"}, "ppnnnnbbbnbb"),
        ({"forward"}, "ppffffffffff"),
    ],
)
def test_absent_players_drop_their_phases(players, expected):
    """The noise stage goes with the noise network; pretraining stays."""
    assert play(PhaseSchedule(CYCLE, frozenset(players), 2, 3), 12) == expected


def test_minimax_start():
    """First update of the cycle: after pretraining and noise stage, if there is anybody to play that stage."""
    assert PhaseSchedule(CYCLE, ALL, 2, 3).minimax_start == 5
    assert PhaseSchedule(CYCLE, frozenset({"forward"}), 2, 3).minimax_start == 2


def test_another_player_may_be_the_one_that_plays_alone():
    """A discriminator's pretraining; the players of another game go by their own names."""
    cycle = (("discriminator", 2), ("generator", 1), ("teacher", 1))
    schedule = PhaseSchedule(cycle, frozenset(dict(cycle)), alone_updates=3, alone="discriminator")
    assert "".join(schedule.phase(update)[0] for update in range(11)) == "ddd" + "ddgt" * 2
    assert parse_phase_cycle("teacher=1,generator=2", ("generator", "teacher")) == [("teacher", 1), ("generator", 2)]
    with pytest.raises(AMIError, match="the players are generator, teacher"):
        parse_phase_cycle("noise=1", ("generator", "teacher"))
    with pytest.raises(AMIError, match="write it like generator=1,teacher=1"):
        parse_phase_cycle("x", ("generator", "teacher"))
    with pytest.raises(AMIError, match="--discriminator-updates must not be negative"):
        PhaseSchedule(cycle, frozenset(dict(cycle)), alone_updates=-1, alone="discriminator")


def test_stepped_players():
    """Pretraining moves both networks, every other phase its one player."""
    schedule = PhaseSchedule(CYCLE, ALL, 1, 0)
    assert schedule.movers(schedule.phase(0)) == {"forward", "backward"}
    assert [set(schedule.movers(schedule.phase(u))) for u in (1, 2, 4)] == [{"noise"}, {"forward"}, {"backward"}]


def test_far_into_the_run_the_cycle_goes_on():
    """A million updates later: the place is the remainder."""
    schedule = PhaseSchedule(CYCLE, ALL, 2, 3)
    assert schedule.phase(5 + 6 * 10**6) == "noise"
    assert schedule.phase(5 + 6 * 10**6 + 5) == "backward"


def test_parse():
    """Order kept, blanks allowed."""
    assert parse_phase_cycle("noise=4,forward=8,backward=8") == [("noise", 4), ("forward", 8), ("backward", 8)]
    assert parse_phase_cycle(" backward = 1 , forward=35") == [("backward", 1), ("forward", 35)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "cannot read ''"),
        ("forward", "cannot read 'forward'"),
        ("forward=", "cannot read 'forward='"),
        ("forward=8,", "cannot read ''"),
        ("forward=1.5", "cannot read"),
        ("forward=8 backward=8", "cannot read"),
        ("generator=8", "unknown player 'generator'; the players are noise, forward, backward"),
        ("pretrain=8", "unknown player"),
        ("forward=8,forward=1", "forward stands there twice"),
        ("forward=0", "at least one update"),
        ("forward=8,backward=-1", "backward=-1"),
    ],
)
def test_bad_cycles_say_what_is_wrong(text, message):
    """An AMIError that names the flag."""
    with pytest.raises(AMIError) as error:
        parse_phase_cycle(text)
    assert message in str(error.value) and "--phase-cycle" in str(error.value)


def test_a_cycle_without_a_present_player_is_refused():
    """Nobody would ever play."""
    with pytest.raises(AMIError, match="no phase of a player that takes part .forward"):
        PhaseSchedule((("noise", 4),), frozenset({"forward"}))


@pytest.mark.parametrize(
    "name, flag", [("pretrain_updates", "--pretrain-updates"), ("alone_updates", "--noise-updates")]
)
def test_negative_stages_are_refused(name, flag):
    """Named as the user types it."""
    with pytest.raises(AMIError, match=flag):
        PhaseSchedule(CYCLE, ALL, **{name: -1})


@pytest.mark.parametrize(
    "epochs, batches, update_freq, skip, expected",
    [
        (1, 6, [1], False, 6),
        (2, 7, [2], False, 8),  # 4 + 4
        (2, 7, [1, 2], False, 11),  # 7 + 4
        (3.5, 7, [1, 2, 3], False, 15.5),  # 7 + 4 + 3 + 3 / 2
        (0.5, 7, [2, 1], False, 2),  # half of 4
        (1, 7, [2], True, 3),  # 6 whole batches
        (2, 6, [2], True, 4),  # 5 batches, 2 whole updates, twice
    ],
)
def test_updates_in_epochs(epochs, batches, update_freq, skip, expected):
    """By hand."""
    assert updates_in(epochs, batches, update_freq, skip) == expected
