"""How errors are shown, also those of the processes that torch's launcher starts: one for each GPU."""

import sys

import pytest
import torch

from fairseq_ami.errors import AMIError


def fail(rank: int, shown: bool) -> None:
    raise AMIError("wrong input: mend it") if shown else ValueError("a mistake of ours: AMIError: not")


def shown_by_the_hook(error: BaseException, capsys: pytest.CaptureFixture) -> str:
    sys.excepthook(type(error), error, error.__traceback__)
    return capsys.readouterr().err


def test_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    assert shown_by_the_hook(AMIError("mend it"), capsys) == "fairseq_ami: error: mend it\n"
    assert "ValueError: mine" in shown_by_the_hook(ValueError("mine"), capsys)


@pytest.mark.parametrize("shown", [True, False])
def test_of_a_process_that_torch_launched(shown: bool, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(torch.multiprocessing.ProcessRaisedException) as caught:
        torch.multiprocessing.start_processes(fail, args=(shown,), nprocs=1, start_method="fork")
    text = shown_by_the_hook(caught.value, capsys)
    assert (text == "fairseq_ami: error: wrong input: mend it\n") == shown
    assert ("terminated with the following error" in text) != shown
