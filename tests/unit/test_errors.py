"""How errors are shown, also those of the processes that torch's launcher starts: one for each GPU."""

import sys
from pathlib import Path

import pytest
import torch
from fairseq import options
from fairseq_cli import eval_lm
from hydra._internal.utils import run_and_report

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


def test_hydra_shows_the_message_alone(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run_and_report(lambda: fail(0, shown=True))
    shown = capsys.readouterr().err
    assert shown.startswith("wrong input: mend it\n") and "Traceback" not in shown
    with pytest.raises(SystemExit):
        run_and_report(lambda: fail(0, shown=False))
    assert "Traceback" in capsys.readouterr().err


def test_a_command_of_fairseq_without_a_task(capsys: pytest.CaptureFixture) -> None:
    """As fairseq-validate parses its command line."""
    with pytest.raises(KeyError) as caught:
        options.parse_args_and_arch(options.get_validation_parser(), ["data", "--path", "a.pt"])
    assert "pass --task ami_translation" in shown_by_the_hook(caught.value, capsys)
    with pytest.raises(KeyError) as caught:
        {}[None]
    assert "KeyError: None" in shown_by_the_hook(caught.value, capsys), "a mistake of another program"


def test_a_pair_in_fairseqs_command_for_language_models(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its default task looks for dict.txt, which data of two languages do not have."""
    parser = options.get_eval_lm_parser()
    args = options.parse_args_and_arch(parser, [str(tmp_path), "--path", "a.pt"])
    with pytest.raises(FileNotFoundError) as caught:
        eval_lm.main(args)
    capsys.readouterr()
    assert "for a pair fairseq-validate" in shown_by_the_hook(caught.value, capsys)
