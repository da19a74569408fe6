"""Every command of every page: it parses with the real parsers, and says by which test it is run."""

import argparse
import json
import re
import shlex
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import pytest
from functional.page_commands import (
    CHECKED,
    FAIRSEQ,
    ROOT,
    SYSTEM,
    Block,
    all_blocks,
    all_pages,
    recorded,
    variables_of,
)

BLOCKS = all_blocks()
# page -> test that runs its blocks on small data; the blocks of all other pages need hours or downloads, and are parsed
RUN = {
    "README.md": "learning/test_getting_started.py::test_readme",
    "docs/getting_started.md": "learning/test_getting_started.py::test_getting_started",
    "docs/rewards.md": "functional/test_guides.py::test_rewards",
    "docs/dialogue.md": "functional/test_guides.py::test_dialogue",
    "docs/dialogue_systems.md": "functional/test_guides.py::test_dialogue_systems",
    "docs/text_vae.md": "functional/test_guides.py::test_text_vae",
    "docs/tools.md": "functional/test_guides.py::test_tools",
    "docs/export.md": "functional/test_guides.py::test_export",
    "docs/networks.md": "functional/test_guides.py::test_networks",
    "docs/extending.md": "functional/test_extending.py::test_parts_of_ones_own_train",
    "examples/tour/README.md": "functional/test_networks.py::test_the_tour",
    "examples/multi30k/README.md": "learning/test_multi30k_scripts.py",
    "examples/multi30k/REWARDS.md": "learning/test_multi30k_scripts.py",
    "examples/dailydialog/README.md": "learning/test_dialogue_scripts.py",
    "examples/personachat/README.md": "learning/test_dialogue_scripts.py",
    "examples/ptb/README.md": "learning/test_vae_recipes.py",
    "examples/snli/README.md": "learning/test_vae_recipes.py",
    "examples/yahoo/README.md": "learning/test_vae_recipes.py",
    "examples/_vae/README.md": "learning/test_vae_recipes.py",
    "examples/wmt14_en_de/README.md": "learning/test_wmt14_scripts.py",
}
# pages whose blocks are parsed only: they install things, or run the very tests
PARSED = {
    "CONTRIBUTING.md": "installs, and runs the tests themselves",
    "docs/accelerators.md": "needs a GPU",
}
# page -> test that runs its blocks of Python
PYTHON = {
    "README.md": "functional/test_extending.py::test_reward_of_the_front_page",
    "docs/networks.md": "functional/test_guides.py::test_networks",
    "docs/extending.md": "functional/test_extending.py::test_parts_of_ones_own_train",
    "docs/rewards.md": "unit/rewards/test_rewards_page.py::test_functions_of_ones_own",
    "docs/tools.md": "functional/test_guides.py::test_tools",
}
# recipes keep functions and settings that their scripts share in these folders
SHARED = {"dailydialog": "_dialogue", "personachat": "_dialogue", "ptb": "_vae", "snli": "_vae", "yahoo": "_vae"}
# words of commands that stand for something of the reader's
PLACEHOLDERS = {"...", "RUN", "ROW", "BIN"}


@lru_cache(maxsize=None)
def scripts_of(folder: Path) -> str:
    """All shell, Python and YAML of a recipe, and the names of its files."""
    folders = [folder, folder.parent / SHARED.get(folder.name, folder.name)]
    files = [
        path
        for place in folders
        for path in place.rglob("*")
        if path.suffix in (".sh", ".py", ".yaml", ".sbatch")
        and not any(part.startswith(".") for part in path.relative_to(place).parts)  # environments are others' code
    ]
    return "\n".join([*(path.read_text() for path in files), *(path.stem for path in files)])


def check_fairseq(name: str) -> Callable[[List[str]], Any]:
    """fairseq's own parser, with the options of the task, the model and the rest that the command names."""
    from fairseq import options

    parsers = {
        "train": options.get_training_parser, "generate": options.get_generation_parser,
        "validate": options.get_validation_parser, "preprocess": options.get_preprocessing_parser,
        "interactive": options.get_interactive_generation_parser,
    }  # fmt: skip

    def check(args: List[str]) -> None:
        parser = parsers[name]()
        if name == "preprocess":
            parser.parse_args(args)
            return
        if args[0] == "...":  # a command that was given before, with more options
            args = [*"data --task ami_translation --arch ami_lstm --criterion ami_minimax".split(), *args[1:]]
            args += ["--optimizer", "ami_phased", "--user-dir", str(ROOT / "fairseq_ami")]
        options.parse_args_and_arch(parser, input_args=[*args])

    return check


def check_hydra(args: List[str]) -> None:
    """The file exists, and so does every setting that the command overrides."""
    from hydra import compose, initialize_config_dir

    given = dict(zip(args[::2], args[1::2]))
    overrides = [arg for arg in args if "=" in arg]
    with initialize_config_dir(config_dir=str(ROOT / given["--config-dir"])):
        config = compose(config_name=given["--config-name"], overrides=overrides)
    assert config.task.data


def check_ami(args: List[str]) -> None:
    from fairseq_ami.cli import build_parser

    parsed = build_parser(args[0]).parse_args(args)
    assert parsed


def check_make(args: List[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for arg in args:
        name, given, _ = arg.partition("=")
        assert re.search(rf"^{name} \?=" if given else rf"^{name}:.* ## |^{name}: ", makefile, re.MULTILINE), arg


def check_pip(args: List[str]) -> None:
    """Commands and extras; the options are pip's."""
    assert args[0] == "install"
    setup = (ROOT / "setup.py").read_text()
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(args)):
        assert all(f'"{name}": ' in setup for name in extra.split(",")), extra


def check_python(args: List[str]) -> None:
    if args[0] == "-m":
        assert args[1] in ("venv", "pip"), args
        return
    script = (ROOT / args[0]).read_text()
    assert all(f'"{arg}"' in script for arg in args[1:] if arg.startswith("--")), args


def check_sacremoses(args: List[str]) -> None:
    from sacremoses.cli import cli

    context = cli.make_context("sacremoses", args)
    name, *rest = [*context._protected_args, *context.args]
    cli.commands[name].make_context(name, rest)


def check_subword_nmt(args: List[str]) -> None:
    from subword_nmt import apply_bpe, learn_bpe

    parsers = {"learn-bpe": learn_bpe.create_parser, "apply-bpe": apply_bpe.create_parser}
    parser = parsers[args[0]]()
    known = {name for action in parser._actions for name in action.option_strings}
    assert all(arg in known for arg in args[1:] if arg.startswith("-")), args


def check_sacrebleu(args: List[str]) -> None:
    from unittest import mock

    from sacrebleu.sacrebleu import parse_args

    with mock.patch.object(sys, "argv", ["sacrebleu", *args]):
        parse_args()


CHECKS: Dict[str, Callable[[List[str]], Any]] = {
    **{f"fairseq-{name}": check_fairseq(name) for name in FAIRSEQ if name != "hydra-train"},
    "fairseq-hydra-train": check_hydra, "fairseq-ami": check_ami, "make": check_make, "pip": check_pip,
    "python": check_python, "python3": check_python, "sacremoses": check_sacremoses,
    "subword-nmt": check_subword_nmt, "sacrebleu": check_sacrebleu,
}  # fmt: skip


@lru_cache(maxsize=None)
def known_options() -> Set[str]:
    """All options of fairseq and of this package, Adam's among them."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass
    from fairseq.optim.adam import FairseqAdamConfig
    from fairseq.options import get_preprocessing_parser

    pages = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("reference", "options"))
    parsers = [get_preprocessing_parser(), argparse.ArgumentParser()]
    gen_parser_from_dataclass(parsers[1], FairseqAdamConfig())
    known = {name for parser in parsers for action in parser._actions for name in action.option_strings}
    return known | set(re.findall(r"`(--[\w-]+)", pages))


def check_script(block: Block, args: List[str]) -> None:
    """Words are rows, files or settings that the scripts of the recipe know."""
    for arg in args:
        if "=" not in arg and arg not in PLACEHOLDERS:
            assert arg in scripts_of(block.folder), f"{block}: {arg}"


def check(block: Block, name: str, args: List[str], capsys: pytest.CaptureFixture) -> None:
    if name.startswith("./"):
        check_script(block, args)
    elif name not in SYSTEM and not (block.page == "docs/extending.md" and "my_parts" in args):
        try:
            CHECKS[name](args[:-1] if args[-1:] == ["..."] else args)
        except SystemExit:
            raise AssertionError(f"{block}: {shlex.join([name, *args])}\n{capsys.readouterr().err[-5000:]}") from None


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block(block: Block, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Every option exists, every choice is one, every script and every variable is known."""
    commands = recorded(block, tmp_path)
    assert commands or not re.search(r"^\s*[a-z./]", block.text, re.MULTILINE)
    for name, args in commands:
        check(block, name, args, capsys)
    for variable in variables_of(block.text):
        used = rf"\$\{{?{variable}\b|\b{variable}[:?]?="
        here = re.search(rf"\${{?{variable}\b", block.text + "".join(b.text for b in BLOCKS if b.page == block.page))
        known = here or re.search(used, scripts_of(block.folder)) or variable in ("TORCH_INDEX", "PYTHONPATH", "PY")
        assert known, f"{block}: nobody reads {variable}"
    if block.page.startswith("examples/"):
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", block.text)) <= known_options() | {
            "--no-index", "--no-deps", "--target", "--config-dir", "--config-name"
        }  # fmt: skip


def test_every_page_says_what_runs_it() -> None:
    pages = {block.page for block in BLOCKS}
    assert pages == set(RUN) | set(PARSED) and not set(RUN) & set(PARSED)
    with_python = {page for page in all_pages() if "```python" in (ROOT / page).read_text()}
    assert with_python == set(PYTHON)
    for place in [*RUN.values(), *PYTHON.values()]:
        file, _, function = place.partition("::")
        text = (ROOT / "tests" / file).read_text()
        assert not function or f"def {function}(" in text, place


def test_stand_ins_are_the_checked_commands() -> None:
    assert set(CHECKS) == set(CHECKED)


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("fairseq-ami export a b --no-such-option\n", "unrecognized arguments"),
        (
            "fairseq-train data --user-dir $(fairseq-ami user-dir) --task ami_translation --arch nothing\n",
            "invalid choice",
        ),
        ("for i in 1 2; do fairseq-generate data --beam $i --path x --bem 5; done\n", "unrecognized arguments"),
        ("fairsek-train data\n", "command not found"),
        ("./9_nothing.sh\n", "No such file"),
        ("make nothing\n", "nothing"),
        ("pip install '.[nothing]'\n", "nothing"),
    ],
)
def test_mistakes_are_found(text: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    block = Block("README.md", 0, text, "")
    with pytest.raises(AssertionError, match=wrong):
        for name, args in recorded(block, tmp_path):
            check(block, name, args, capsys)


def test_what_is_recorded(tmp_path: Path) -> None:
    """Variables of earlier blocks, loops, pipes and redirections, as a shell understands them."""
    text = "for x in a 'b c'; do\n  cat < in.$x | fairseq-ami mi $BOTH \"$x\" \\\n    --json > out; done  # remark\n"
    block = Block("README.md", 1, text, 'BOTH="one\n  two"\nmake demo\n')
    expected = [["mi", "one", "two", "a", "--json"], ["mi", "one", "two", "b c", "--json"]]
    assert [args for name, args in recorded(block, tmp_path) if name == "fairseq-ami"] == expected
    assert json.dumps(expected)
