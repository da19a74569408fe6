"""When training stops at numbers that are none, and what it says."""

import math
from typing import Any

import pytest
import torch
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

from fairseq_ami.errors import AMIError
from fairseq_ami.optim.finite import MOST_SKIPPED, FiniteWatch, Moment, advice

NAN = torch.tensor(math.nan)
ONE = torch.ones(())


def watch() -> FiniteWatch:
    found = FiniteWatch()
    found.begin(Moment(7, "forward", "runs/a", "Lower --forward-lr"))
    return found


def test_numbers_pass() -> None:
    found = watch()
    found.note(ONE)
    found.close(ONE)
    found.check_sum(3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_error_names_update_phase_folder_and_remedy(value: float) -> None:
    found = watch()
    found.note(ONE)
    found.note(torch.tensor(value))
    message = f"the loss is {value} in update 7 \\(forward phase\\): .* in runs/a are whole. Lower --forward-lr$"
    with pytest.raises(AMIError, match=message):
        found.close(NAN)


def test_a_worker_whose_own_loss_is_a_number_stops_too() -> None:
    found = watch()
    found.note(ONE)
    with pytest.raises(AMIError, match="the gradient's norm is nan \\(over all workers\\) in update 7 \\(forward"):
        found.close(NAN)


def test_a_loss_without_a_trace_in_the_gradient() -> None:
    found = watch()
    found.close(ONE)
    with pytest.raises(AMIError, match="the loss is -inf \\(over all workers\\) in update 7"):
        found.check_sum(-math.inf)


@pytest.mark.parametrize("settings", [{}, {"tolerance": 0.3}, {"init_scale": 4.0}, {"scale_window": 3}], ids=str)
def test_half_precision_stops_exactly_where_fairseq_would(settings: Any) -> None:
    """A copy of fairseq's scaler goes the same way beside it."""
    found, scaler = watch(), DynamicLossScaler(**settings)
    numbers = 0
    while True:
        numbers += 1
        found.note(NAN)
        scale = scaler.loss_scale
        twin = DynamicLossScaler()
        vars(twin).update(vars(scaler))
        try:
            twin.check_overflow(math.nan)
        except OverflowError:
            found.close(NAN, scaler)
            assert scaler.loss_scale == scale  # looked at, not changed
            vars(scaler).update(vars(twin))
            continue
        except FloatingPointError:
            with pytest.raises(AMIError, match=f"after {numbers - 1} updates that half precision left out"):
                found.close(NAN, scaler)
            break
    assert numbers > 10


def test_half_precision_with_a_floor_under_its_scale_does_not_go_on_for_ever() -> None:
    found, scaler = watch(), DynamicLossScaler(threshold=1.0)
    for _ in range(MOST_SKIPPED):
        found.close(NAN, scaler)
    with pytest.raises(AMIError, match=f"after {MOST_SKIPPED} updates"):
        found.close(NAN, scaler)


def test_overflows_that_are_mended_do_not_add_up() -> None:
    found, scaler = watch(), DynamicLossScaler(threshold=1.0)
    for _ in range(3 * MOST_SKIPPED):
        found.close(NAN, scaler)
        found.close(ONE, scaler)
    assert found.skipped == 0


def test_losses_of_an_update_left_out_are_forgotten() -> None:
    found, scaler = watch(), DynamicLossScaler()
    found.note(NAN)
    found.close(NAN, scaler)
    found.note(ONE)
    with pytest.raises(AMIError, match="the gradient's norm is inf"):
        found.close(torch.tensor(math.inf))


def test_advice_fits() -> None:
    assert advice(["lower --lr"], 3, False) == "Lower --lr"
    assert advice(["lower --noise-lr", "lower --forward-lr"], 3, False) == "Lower --noise-lr; or lower --forward-lr"
    assert "Lower" not in advice(["lower --lr"], 0, False)  # nothing has moved yet
    assert advice(["lower --lr"], 3, True).startswith("Lower --lr. Or train without --fp16")
