"""The site's hooks: links between pages lead to the same file in the repository and in the site."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts" / "site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "link, page, found",
    [
        ("docs/faq.md", "README.md", "faq.md"),
        ("../README.md", "docs/faq.md", "index.md"),
        ("../../docs/experiments/grammar.md#a-b", "examples/toy/README.md", "../../experiments/grammar.md#a-b"),
        ("../examples/toy/README.md", "docs/results.md", "examples/toy/README.md"),
        ("../benchmarks/README.md#ctranslate2", "docs/export.md", "benchmarks/README.md#ctranslate2"),
        ("tables/grammar.tsv", "docs/experiments/grammar.md", "tables/grammar.tsv"),
        ("figures/figure2.png", "examples/ptb/README.md", "figures/figure2.png"),
        ("https://example.org/a.md", "README.md", "https://example.org/a.md"),
        ("#here", "docs/faq.md", "#here"),
    ],
)
def test_links(link, page, found, hooks):
    assert hooks.rewritten(f"see [it]({link}).", page) == f"see [it]({found})."
    assert hooks.rewritten(f"```\n[it]({link})\n```", page) == f"```\n[it]({link})\n```", "code stays as it is"


def test_bars_in_the_code_of_tables(hooks):
    text = "| `--a x\\|y` | P(T\\|S) |\n\n`a\\|b`"
    assert hooks.rewritten(text, "README.md") == "| `--a x|y` | P(T\\|S) |\n\n`a\\|b`"


def test_anchors_are_githubs(hooks):
    assert hooks.slug("`--task ami_translation`", "-") == "--task-ami_translation"
    assert hooks.slug("Why -ELBO is above the exact figure", "-") == "why--elbo-is-above-the-exact-figure"


def test_every_page_is_in_the_menu(hooks):
    menu = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(path.relative_to(ROOT)) for pattern in hooks.PAGES for path in ROOT.glob(pattern)}
    pages |= {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(menu) == sorted(map(hooks.in_site, pages))
    assert {hooks.in_repository(page) for page in menu} == pages


def test_the_workflow_calls_the_commands_of_the_makefile():
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make venv", "make lint", "make test", "make docs"]
    assert all(re.search(rf"^{command[5:]}: ", (ROOT / "Makefile").read_text(), re.MULTILINE) for command in commands)


def test_the_citation_file_is_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license", "preferred-citation"} <= set(citation)
    version = re.search(r'"(.+)"', (ROOT / "fairseq_ami" / "version.py").read_text())[1]
    assert citation["version"] == version
