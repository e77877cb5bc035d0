# Two commands for a fresh machine with Python 3.11 or newer and a C compiler:
#   make demo    the whole story on drawn bears; BEARS=folder WEIGHTS=file tells it with photos
#   make test    the fast tests; make test-slow    the others
# Each makes what it needs: a virtual environment in .venv with the package built into it.
#   make lint         ruff, mypy, vulture, codespell, clang-format and clang-tidy over everything
#   make sanitize     the suite under gcc's sanitizers, the core under valgrind: an hour or more
#   make long-run MINUTES=30    one cycle of work after another, and what grows meanwhile
#   make test-neon    the C code's tests as on aarch64, with Debian's gcc-aarch64-linux-gnu and qemu-user
#   make kills        kills KILLS=200 trainings at random moments, resumes them, and compares every file
#   make benchmark    the engine beside torch; BEARS=folder WEIGHTS=file trains beside fastai, too
#   make docs         the documentation as a site, in docs/_build/html; docs-links asks the web, too
#   make wheel        a source distribution and a wheel, in dist
#   make fuzz         hostile files and hostile calls, SECONDS=60 for each target, led by coverage:
#                     that of C, too, with Debian's clang
#   make clean        removes what the others made

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
BUILT = $(VENV)/.built
SOURCES = pyproject.toml setup.py $(shell find csrc -type f)

.PHONY: help demo lint lint-python lint-c test test-slow test-neon sanitize kills fuzz long-run benchmark docs docs-links wheel clean

help:
	@sed -n 's/^#   //p' Makefile

# setuptools warns of every editable installation.
$(BUILT): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(RUN) -m pip install --quiet --editable '.[lint,test]'
	@touch $@

demo: $(BUILT)
	$(RUN) -m mlclassify demo --out demo $(if $(BEARS),--bears '$(BEARS)') $(if $(WEIGHTS),--weights '$(WEIGHTS)')

test: $(BUILT)
	$(RUN) -m pytest -q -m 'not slow'

test-slow: $(BUILT)
	$(RUN) -m pytest -q -m slow

test-neon: $(BUILT)
	PYTHON=$(RUN) tests/emulate_neon.sh fetch
	$(RUN) -m pytest -q tests/test_neon.py

lint: lint-python lint-c

lint-python: $(BUILT)
	$(VENV)/bin/ruff check
	$(VENV)/bin/codespell
	$(VENV)/bin/vulture
	$(VENV)/bin/mypy

# clang-tidy looks at what setup.py compiles, file by file, as many at a time as there are CPUs.
INCLUDES = import numpy, sysconfig; print(numpy.get_include(), sysconfig.get_path("include"))
lint-c: $(BUILT)
	$(VENV)/bin/clang-format --dry-run -Werror $$(find csrc -name '*.[ch]')
	find csrc -name '*.c' -not -path 'csrc/kernels/*' | xargs -P "$$(nproc)" -I '{}' \
	    $(VENV)/bin/clang-tidy --quiet '{}' -- -std=gnu11 -Wall -Wextra \
	    $$($(RUN) -c '$(INCLUDES)' | sed 's/[^ ]*/-isystem &/g')

# Debian's gcc brings the sanitizers; valgrind is a package of its own.
sanitize: $(BUILT)
	PYTHON=$(RUN) $(RUN) benchmarks/sanitize.py
	$(RUN) benchmarks/sanitize.py --page benchmarks/results/sanitize.md

KILLS ?= 200
kills: $(BUILT)
	$(RUN) tests/kills.py --kills $(KILLS) --out benchmarks/results/kills.md

SECONDS ?= 60
fuzz: $(BUILT)
	-$(RUN) -m pip install --quiet 'atheris>=3'
	$(RUN) tests/fuzz/campaign.py --seconds $(SECONDS) --out benchmarks/results/fuzz.md \
		$(if $(shell command -v clang 2>/dev/null),--native)

MINUTES ?= 30
long-run: $(BUILT)
	$(RUN) -W error tests/long_run.py --minutes $(MINUTES) --out benchmarks/results

# The engine beside torch, and the five seeds of the post's run beside fastai: the seeds if BEARS and
# WEIGHTS are given, as for demo. The peers get an environment of their own, which takes 1.4 GB; PEERS
# names the Python of one that has them already.
PEERS ?= .peers/bin/python
benchmark: $(BUILT) $(if $(filter .peers/%,$(PEERS)),.peers/.built)
	$(RUN) benchmarks/engine.py '$(PEERS)' --out benchmarks/results
	$(if $(BEARS),$(RUN) benchmarks/bears.py '$(BEARS)' '$(WEIGHTS)' --peers '$(PEERS)' --out benchmarks/results)

.peers/.built: benchmarks/peers.txt benchmarks/peers-bare.txt
	$(PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	.peers/bin/python -m pip install --quiet --no-deps --requirement benchmarks/peers-bare.txt
	@touch $@

# Warnings are errors: a link, an anchor, a page or a docstring that does not hold.
SPHINX = $(RUN) -m sphinx -q -W --keep-going -c docs
docs: $(VENV)/.docs
	$(SPHINX) . docs/_build/html

docs-links: $(VENV)/.docs
	$(SPHINX) -b linkcheck . docs/_build/links

# The extra's packages alone: to install '.[docs]' would compile everything again.
EXTRA = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])
$(VENV)/.docs: $(BUILT)
	$(RUN) -c '$(EXTRA)' | xargs $(RUN) -m pip install --quiet
	@touch $@

# A source distribution, and of it a wheel that runs on every Linux of its processor that is not old.
DIST ?= dist
wheel: $(BUILT)
	$(RUN) -m build --no-isolation --outdir '$(DIST)/raw' .
	mv '$(DIST)'/raw/*.tar.gz '$(DIST)'
	PATH="$(dir $(RUN)):$$PATH" $(RUN) -m auditwheel repair --wheel-dir '$(DIST)' '$(DIST)'/raw/*.whl
	rm -r '$(DIST)/raw'

clean:
	rm -rf $(VENV) .peers .neon build dist demo docs/_build *.egg-info mlclassify/*.so
