# make search            a real search with the embedded default; HW=asic TASK=mnist SEARCHER=rl TRIALS=12 ARGS="searcher.seed=1"
# make test              every test, JOBS=2 files at a time; ARGS="-m 'not slow'"
# make check             lint, format, types, import layers
# make bench             speed and quality figures as JSON; some need images: DATA=folder with mnist, cifar10 and checkpoints
# make bench-search      searchers against each other; CASE=digits-fpga ARGS="--seeds 3", what is on record is not run again
# make clean             remove what these made, .venv included; runs and models stay

VENV   := .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
READY  := $(VENV)/.ready
DATA   ?= ../shared/data
JOBS   ?= 2
CIFAR  := $(DATA)/cifar10 $(DATA)/checkpoints/resnet20_cifar10.safetensors
# a benchmark, and the paths that it is given; skipped where one of them is absent
ON_DATA = @if ls $(2) >/dev/null 2>&1; then set -x; $(VENV)/bin/python -m benchmarks.$(1) $(2); \
	  else echo "Skipped benchmarks.$(1): it needs $(2); set DATA."; fi

.PHONY: search test check bench bench-search clean

search: $(READY)
	$(VENV)/bin/autocomp search \
	  $(if $(HW),--hw $(HW)) $(if $(TASK),--task $(TASK)) $(if $(SEARCHER),--searcher $(SEARCHER)) $(if $(TRIALS),--trials $(TRIALS)) $(ARGS)

test: $(READY)
	$(VENV)/bin/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(READY)
	$(VENV)/bin/python -m benchmarks.pricing
	$(VENV)/bin/python -m benchmarks.overhead
	$(VENV)/bin/python -m benchmarks.hwmodels_speed
	$(VENV)/bin/python -m benchmarks.scalesim
	$(VENV)/bin/python -m benchmarks.exported_speed
	$(VENV)/bin/python -m benchmarks.compression_speed
	$(VENV)/bin/python -m benchmarks.packed_size
	$(VENV)/bin/python -m benchmarks.rungs
	$(call ON_DATA,deep_compression,$(DATA)/mnist)
	$(call ON_DATA,low_rank,$(CIFAR))
	$(call ON_DATA,low_bits,$(CIFAR))
	$(call ON_DATA,mixed_bits,$(CIFAR))
	$(call ON_DATA,half_macs,$(DATA)/cifar10 $(DATA)/checkpoints/resnet56_cifar10.safetensors)

bench-search: $(READY)
	$(VENV)/bin/python -m benchmarks.search --case $(or $(CASE),digits27) $(ARGS)
	$(VENV)/bin/python -m benchmarks.search.throughput

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e ".[dev]" -c constraints.txt
	touch $@
