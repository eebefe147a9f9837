# make demo    set up what is needed and look at a photo
# make test    set up what is needed and run all tests
# Both work in a fresh clone with python3 (3.11 or newer) and make.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
BROWSER ?= yes
MINUTES ?= 5
SEED ?= 0

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	--durations=12 --durations-min=8
CHECKED := --jaxtyping-packages=vitrail,beartype.beartype
ifneq ($(BROWSER),yes)
NOT_BROWSER := and not browser
endif

.PHONY: help demo compare bench docs gallery check test fuzz lint format web
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(STAMPS)/demo ## Run the bundled model on a photo of a cat and write the report
	@mkdir -p reports
	@$(BIN)/vitrail explore "$$($(BIN)/python scripts/demo_photo.py)" \
		-o reports/chelsea.html

# What was measured before is not measured again; remove docs/comparison/measured to do so.
compare: $(STAMPS)/dev ## Measure ways to attend side by side and write docs/comparison
	$(BIN)/vitrail compare --output docs/comparison

# Cases that were measured before are not measured again; see python -m benchmarks.speed --help. FOCAL=folder
# names a checkout of the official Focal Transformer, to time it too.
bench: $(STAMPS)/dev ## Time Vitrail beside every peer on this machine and write docs/performance.md
	$(BIN)/python -m benchmarks.speed $(if $(FOCAL),--focal "$(FOCAL)")

docs: $(STAMPS)/dev ## Build the documentation site into docs/_build (no network needed)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build
	@echo "Open docs/_build/index.html"

gallery: $(STAMPS)/dev ## Write docs/gallery: reports on five photos, and an index (needs Chromium)
	@sh scripts/need_chromium.sh
	@$(BIN)/python scripts/gallery.py docs/gallery

# What one runs while working: the laws, the core, one contract for all models, a part of parity.
# Slow sweeps, compilation, other runtimes and the browser are in make test alone.
CHECK := tests/patterns tests/ops tests/layers tests/laws tests/models/test_contract.py \
	tests/attention/test_reference.py tests/attention/test_backends.py tests/attention/test_select.py \
	tests/parity/test_swin.py tests/weights/test_rules.py tests/weights/test_load.py tests/test_api.py
check: $(STAMPS)/dev ## Run the quick part of the tests: three to four minutes on two cores
	@$(PYTEST) $(CHECKED) -m "not compile and not browser" $(CHECK)

# Two passes: the shape checker stops torch.compile(fullgraph=True), so what compiles runs without.
test: $(STAMPS)/dev ## Run all tests (BROWSER=no leaves out those that need Chromium)
	@test "$(BROWSER)" != yes || sh scripts/need_chromium.sh
	@sh scripts/need_node.sh
	@status=0; \
	$(PYTEST) $(CHECKED) -m "not compile $(NOT_BROWSER)" || status=$$?; \
	$(PYTEST) -m "compile" || status=$$?; \
	exit $$status

# Every fuzzer runs its first cases in make test too, for a few seconds.
fuzz: $(STAMPS)/dev ## Run the fuzzers, each for MINUTES=5, on the cases of SEED=0
	VITRAIL_FUZZ_SECONDS=$$((60 * $(MINUTES))) VITRAIL_FUZZ_SEED=$(SEED) \
	$(PYTEST) $(CHECKED) tests/fuzz

lint: $(STAMPS)/dev ## Check style, types and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

web: ## Check the page's sources and bundle them (needs Node; the bundle is committed)
	@sh scripts/need_node.sh must
	cd web && npm run --silent check && npm run --silent build

format: $(STAMPS)/dev ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(STAMPS)/venv:
	@sh scripts/need_python.sh "$(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: pyproject.toml constraints.txt | $(STAMPS)/venv
	@echo "Installing what the demo needs into $(VENV). The first time takes minutes: PyTorch is large."
	$(PIP) --editable '.[demo]'
	@touch $@

$(STAMPS)/dev: pyproject.toml constraints.txt | $(STAMPS)/venv
	@echo "Installing what the tests need into $(VENV). The first time takes minutes: PyTorch is large."
	$(PIP) --editable '.[dev]'
	@touch $@ $(STAMPS)/demo
