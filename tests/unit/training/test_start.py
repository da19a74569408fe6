"""Resuming with another model."""

from types import SimpleNamespace

import pytest

import fairseq_ami  # noqa: F401  (registers the architectures)
from fairseq_ami.errors import AMIError
from fairseq_ami.training.start import check_same_model


def check(saved, now, **rule):
    run = SimpleNamespace(**{"arch": "ami_lstm", **now})
    check_same_model({"arch": "ami_lstm", **saved}, run, "last.pt", ("a", "b"), **rule)


def test_either_name_of_an_architecture_will_do():
    check({"arch": None, "_name": "ami_lstm"}, {})
    check({}, {"arch": None, "_name": "ami_lstm"})


def test_another_architecture_is_refused():
    with pytest.raises(AMIError, match="last.pt is of --arch ami_transformer, not ami_lstm: resume with the same"):
        check({"arch": "ami_transformer"}, {})


def test_two_names_of_one_class_are_the_same():
    """Sizes are compared by themselves."""
    check({"arch": "ami_transformer"}, {"arch": "ami_transformer_dialog"})


@pytest.mark.parametrize("absent_is_off", [True, False])
@pytest.mark.parametrize(
    "before, now, refused",
    [
        (8, 8, (False, False)),
        ("8", 8, (False, False)),  # through a command line
        (8, 4, (True, True)),
        (0, 8, (True, True)),
        (8, 0, (True, True)),
        (None, 8, (False, True)),
        (8, None, (False, True)),
        (None, 0, (False, False)),
        (False, None, (False, False)),
        (None, None, (False, False)),
    ],
)
def test_what_an_absent_setting_means(before, now, refused, absent_is_off):
    """Off, so that a run with it is another one; or unknown, so that nothing is said of it."""
    saved = {} if before is None else {"b": before}
    if refused[absent_is_off]:
        with pytest.raises(AMIError, match=f"was trained with --b {before}, this run has {now}"):
            check(saved, {"b": now}, absent_is_off=absent_is_off)
    else:
        check(saved, {"b": now}, absent_is_off=absent_is_off)
