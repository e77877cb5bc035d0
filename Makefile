# Two commands for a fresh machine with Python 3.11 or newer and a C compiler:
#   make demo    the whole story on drawn bears; BEARS=folder WEIGHTS=file tells it with photos
#   make test    the test suite
# Each makes what it needs: a virtual environment in .venv with the package built into it.
#   make test-neon    the C code's tests as on aarch64, with Debian's gcc-aarch64-linux-gnu and qemu-user

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
BUILT = $(VENV)/.built
SOURCES = pyproject.toml setup.py $(shell find csrc -type f)

.PHONY: help demo test test-slow test-neon benchmark clean

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

# The five seeds of the post's run; BEARS and WEIGHTS as for demo, PEERS the Python of an environment
# with fastai to run beside (without it the table has fastai's recorded figures only).
benchmark: $(BUILT)
	$(RUN) benchmarks/bears.py '$(BEARS)' '$(WEIGHTS)' $(if $(PEERS),--peers '$(PEERS)') --out benchmarks/results

clean:
	rm -rf $(VENV) .neon build demo *.egg-info mlclassify/*.so
