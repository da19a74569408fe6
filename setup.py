"""Packaging of fairseq_ami. All static settings of the tools live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """The version as text: importing the package would need fairseq and torch to be there already."""
    source = (ROOT / "fairseq_ami" / "version.py").read_text(encoding="utf-8")
    return re.search(r"""^__version__ = ["']([^"']+)["']""", source, re.MULTILINE).group(1)


def read_long_description() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


INSTALL_REQUIRES = [
    # PyPI's fairseq 0.12.2 cannot be imported on Python >= 3.11; fairseq-fixed is fairseq's main branch with that
    # repaired, under the same import name. Who has another repaired fairseq installs with `pip install --no-deps .`
    'fairseq-fixed==0.12.3.1; python_version >= "3.11"',
    'fairseq>=0.12.2; python_version < "3.11"',
    "torch>=2.6",  # checkpoints are loaded with weights_only=True, which is safe from this version on
    "sacrebleu",
    "subword-nmt",
    "sacremoses",
    "scipy",
]
VECTORS = ["gensim>=4"]  # trains word vectors for `fairseq-ami metrics`
CTRANSLATE2 = ["ctranslate2>=4.8"]  # `fairseq-ami export --format ctranslate2`, and its folders as engines
HUGGINGFACE = ["transformers>=5"]  # `fairseq-ami export --format huggingface`
REWARDS = ["fastchrf"]  # the chrF of rewards and of `rerank --mbr`, fifteen times as fast
TEST = ["pytest", "pytest-xdist", "nltk", *VECTORS, *CTRANSLATE2, *REWARDS]
PLOT = ["matplotlib"]
BROWSER = ["playwright"]  # drives an installed Chromium in tests/browser
DEMO = ["matplotlib", "tensorboardX"]
LINT = ["mypy", "ruff"]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.26"]  # `make docs`

# tar.gz: the networks to try at once, 9 MB
PACKAGE_DATA = ["yaml", "yml", "json", "txt", "html", "css", "js", "tar.gz"]

setup(
    name="fairseq_ami",
    version=read_version(),
    description="Adversarial mutual information (AMI, ICML 2020) text generation as a fairseq plugin",
    long_description=read_long_description(),
    long_description_content_type="text/markdown",
    author="fairseq_ami contributors",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    # Namespace packages as well: folders that hold nothing but YAML files must get into the wheel, without a warning.
    packages=find_namespace_packages(include=["fairseq_ami", "fairseq_ami.*"], exclude=["*.__pycache__*"]),
    package_data={"fairseq_ami": [f"**/*.{ending}" for ending in PACKAGE_DATA]},
    include_package_data=True,
    zip_safe=False,  # --user-dir needs a real folder
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "test": TEST,
        "vectors": VECTORS,
        "ctranslate2": CTRANSLATE2,
        "huggingface": HUGGINGFACE,
        "rewards": REWARDS,
        "plot": PLOT,
        "browser": BROWSER,
        "demo": DEMO,
        "lint": LINT,
        "docs": DOCS,
        "dev": sorted({*TEST, *HUGGINGFACE, *PLOT, *DEMO, *LINT, *DOCS}),
    },
    entry_points={"console_scripts": ["fairseq-ami = fairseq_ami.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
