# fairseq_ami: `make demo` and `make test` need nothing but Python, make and a C++ compiler; `make help` lists the rest.
#
#   PYTHON=...       the Python that the virtual environment is made from   (python3)
#   VENV=...         where the environment stands                          (.venv)
#   PY=...           use this Python as it is: nothing is created or installed
#   TORCH_INDEX=...  one more package index, e.g. https://download.pytorch.org/whl/cpu for the small CPU-only torch
#   ARGS=...         passed on to the demo or to pytest

PYTHON ?= python3
VENV ?= .venv
PY ?=
TORCH_INDEX ?=
ARGS ?=

STAMP := $(VENV)/.fairseq_ami-installed
UNFINISHED := $(VENV)/.fairseq_ami-unfinished
TEMPORARY := $(VENV)/.fairseq_ami-tmp

ifeq ($(strip $(PY)),)
RUN := $(VENV)/bin/python
READY := $(STAMP)
else
RUN := $(PY)
READY :=
endif

# The checkout comes first, so that PY= needs the dependencies only. The environment's commands are on the PATH.
RUN_ENV = PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" PATH="$(abspath $(dir $(RUN))):$$PATH"

# Two processes where pytest-xdist is installed: most tests wait for small programs that use one core.
PARALLEL = $(shell $(RUN) -c 'import xdist' 2>/dev/null && printf '%s' '-n 2')

# fairseq needs torch to build. The constraints must hold in that isolated build too, or pip fetches the newest torch
# for it: PIP_CONSTRAINT sees to it in older versions of pip, PIP_BUILD_CONSTRAINT in newer ones. The build unpacks a
# whole torch (1 to 5 GB), too much for many a /tmp in memory: hence TMPDIR. With CUDA_HOME set, fairseq would compile
# CUDA extensions that are not used here.
CONSTRAINTS = $(CURDIR)/constraints.txt
PIP = env -u CUDA_HOME TMPDIR="$(abspath $(TEMPORARY))" PIP_CONSTRAINT="$(CONSTRAINTS)" \
	PIP_BUILD_CONSTRAINT="$(CONSTRAINTS)" $(VENV)/bin/python -m pip --disable-pip-version-check install \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# What is missing is said at once, not by a compiler after minutes.
define CHECK_MACHINE
import importlib.util, os, shlex, shutil, sys, sysconfig

def stop(*lines):
    sys.exit("\n".join(("", "fairseq_ami: cannot make the environment.") + lines + ("",)))

version = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)
if sys.version_info < (3, 10):
    stop(version + " is too old: Python 3.11 or 3.12 is needed.", "Pass another: make PYTHON=/path/to/python3.11 ...")
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    stop(version + " cannot make virtual environments.", "On Debian and Ubuntu: apt install python3-venv")
wheel = sys.version_info[:2] == (3, 12) and sysconfig.get_platform() in ("linux-x86_64", "win-amd64")
if not wheel:  # fairseq is built from source
    compilers = [shlex.split(os.environ["CXX"])[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(map(shutil.which, compilers)):
        stop("No C++ compiler (%s) on the PATH: on this Python fairseq is built from source." % ", ".join(compilers),
             "On Debian and Ubuntu: apt install build-essential")
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        stop("The headers of " + version + " are missing (" + header + ").",
             "On Debian and Ubuntu: apt install python3-dev")
endef
export CHECK_MACHINE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv try demo demo-vae test test-slow gpu-check kenlm reference figures docs docs-serve lint clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP)  ## make the virtual environment and install everything into it (once)

# An environment that was begun here and not finished is made anew: pip itself may be half-written in it. One that was
# there before (VENV=...) is never removed, only installed into.
$(STAMP): setup.py pyproject.toml constraints.txt fairseq_ami/version.py
	@command -v $(PYTHON) >/dev/null || \
		{ echo "fairseq_ami: no '$(PYTHON)' on the PATH: pass PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_MACHINE"
	@if [ -e $(UNFINISHED) ]; then echo "The last installation was interrupted: starting $(VENV) anew."; rm -rf $(VENV); fi
	@if [ ! -e $(VENV) ]; then mkdir -p $(VENV) && touch $(UNFINISHED); fi
	@if [ ! -x $(VENV)/bin/python ]; then \
		echo "Installing into $(VENV): a few minutes, most of them for fetching torch and building fairseq."; \
		$(PYTHON) -m venv $(VENV); \
	fi
	@rm -rf $(TEMPORARY) && mkdir -p $(TEMPORARY)
	$(PIP) --upgrade pip
	$(PIP) --editable ".[test,demo,lint,docs]"
	@rm -rf $(TEMPORARY) $(UNFINISHED)
	@touch $@

try: $(READY)  ## translate, score and interpolate with the networks of this package: seconds, no data
	@$(RUN_ENV) $(RUN) examples/try.py

demo: $(READY)  ## the whole of AMI on an embedded corpus, on the CPU: a table and a figure at the end
	@$(RUN_ENV) $(RUN) examples/toy/run_demo.py $(ARGS)

demo-vae: $(READY)  ## a text VAE that collapses and VAE-MINE on an embedded corpus, on the CPU: table, figures, text
	@$(RUN_ENV) $(RUN) examples/toy_vae/run_vae_demo.py $(ARGS)

test: $(READY)  ## the tests of a few minutes, in two processes
	@$(RUN_ENV) $(RUN) -m pytest $(PARALLEL) $(ARGS)

test-slow: $(READY)  ## the tests that train until a score is reached
	@$(RUN_ENV) $(RUN) -m pytest -m slow $(ARGS)

gpu-check: $(READY)  ## what needs a CUDA device: checks, words a second (FAIRSEQ_AMI_DEVICE=cpu: their logic without one)
	@$(RUN_ENV) $(RUN) -m pytest -m gpu -rs tests/gpu $(ARGS)
	@$(RUN_ENV) $(RUN) benchmarks/gpu_throughput.py

kenlm: .kenlm/bin/query  ## build KenLM's lmplz and query into .kenlm/bin; needs CMake and Boost (apt packages)

.kenlm/bin/query: scripts/build_kenlm.sh | $(READY)
	@$(RUN_ENV) scripts/build_kenlm.sh $(RUN) .kenlm

reference: $(READY)  ## write docs/reference.md anew, from the options in the code
	@$(RUN_ENV) $(RUN) scripts/reference.py

figures: $(READY)  ## draw the figures of the pages anew, from their tables
	@$(RUN_ENV) $(RUN) scripts/figures.py

docs: $(READY)  ## build the site into site/; stops at a broken link or anchor
	@$(RUN_ENV) NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet $(ARGS) && echo "site/index.html"

docs-serve: $(READY)  ## show the site on http://127.0.0.1:8000 and follow changes
	@$(RUN_ENV) NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs serve $(ARGS)

lint: $(READY)  ## style, types and shell scripts: ruff, mypy, shellcheck, each where it is installed
	@$(RUN_ENV) scripts/lint.sh $(RUN)

clean:  ## remove builds, caches and the demo's output; the environment stays
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache demo-output demo-vae-output
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv and .kenlm too
	rm -rf .venv .kenlm
