# Two commands for a fresh machine with Python 3.11 or newer and a C compiler:
#   make demo    the whole story on drawn bears; BEARS=folder WEIGHTS=file tells it with photos
#   make test    the test suite
# Each makes what it needs: a virtual environment in .venv with the package built into it.
#   make sanitize     the suite under gcc's sanitizers, the core under valgrind: an hour or more
#   make long-run MINUTES=30    one cycle of work after another, and what grows meanwhile
#   make test-neon    the C code's tests as on aarch64, with Debian's gcc-aarch64-linux-gnu and qemu-user
#   make kills        kills KILLS=200 trainings at random moments, resumes them, and compares every file
#   make wheel        a source distribution and a wheel, in dist
#   make fuzz         hostile files and hostile calls, SECONDS=60 for each target, led by coverage:
#                     that of C, too, with Debian's clang

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
BUILT = $(VENV)/.built
SOURCES = pyproject.toml setup.py $(shell find csrc -type f)

.PHONY: help demo test test-slow test-neon sanitize kills fuzz long-run benchmark wheel clean

help:
	@sed -n 's/^#   //p' Makefile

$(BUILT): $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable '.[test]'
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

# A source distribution, and of it a wheel that runs on every Linux of its processor that is not old.
DIST ?= dist
wheel: $(BUILT)
	$(RUN) -m build --no-isolation --outdir '$(DIST)/raw' .
	mv '$(DIST)'/raw/*.tar.gz '$(DIST)'
	PATH="$(dir $(RUN)):$$PATH" $(RUN) -m auditwheel repair --wheel-dir '$(DIST)' '$(DIST)'/raw/*.whl
	rm -r '$(DIST)/raw'

clean:
	rm -rf $(VENV) .peers .neon build dist demo *.egg-info mlclassify/*.so
