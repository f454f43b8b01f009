# `make demo` and `make test` need Python 3.11 or later and make, nothing else: the rest is installed into .venv.

PYTHON ?= python3
WORKERS ?= 2
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
BIN := .venv/bin
READY := .venv/ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick coverage lint docs base gallery viewer schema lock clean

help:
	@echo "make demo   train on simulated chest X-rays, sample, judge, release, report (minutes)"
	@echo "make test   linters, type checks and all tests"
	@echo "make quick  the tests that train no network and start no program; make coverage, all, and what they run of the package"
	@echo "make lint   linters and type checks alone"
	@echo "make docs   the pages of docs/ as a site, in site/; make setup installs alone"
	@echo "make base   train the base model that comes with the package anew (half an hour)"
	@echo "make gallery  docs/gallery.png anew: six modalities from their examples (hours; GALLERY='--images 3600' is shorter)"
	@echo "make viewer install NiiVue, by which volumes.html of a release shows volumes; needs npm"
	@echo "make schema write the schema and the tables of keys anew, after a change of medsynth/config"
	@echo "make lock   resolve requirements.lock anew"
	@echo "make clean  remove results/, of the demo and of your own runs, site/ and .snakemake/"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "medsynth needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=/path/to/python3.11"; \
		exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode \
		-r requirements.lock -e .
	$(BIN)/python -m compileall -q medsynth
	@touch $@

setup: $(READY)

demo: $(READY)
	$(BIN)/snakemake --cores $(CORES)
	$(BIN)/snakemake --cores 1 --report report.html
	@echo
	@echo "Report:        report.html"
	@echo "Training runs: $(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db"

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

quick: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

coverage: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov=medsynth --cov-report=term:skip-covered

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy

# A broken link or an unresolved name ends it.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

base: $(READY)
	$(BIN)/snakemake --cores $(CORES) --configfile config/base.yaml --until train
	$(BIN)/python -m medsynth base --checkpoint results/train/leaves/base/model.safetensors \
		--out medsynth/models/weights/grey.safetensors

# It goes on where it was stopped: results/gallery is kept.
gallery: $(READY)
	$(BIN)/python benchmarks/gallery.py --out results/gallery --picture docs/gallery.png --cores $(CORES) $(GALLERY)

# NiiVue, for volumes.html of a release: needs npm, and the network once.
viewer: $(READY)
	npm pack --silent --pack-destination .venv @niivue/niivue@0.69.0
	$(BIN)/python -m medsynth viewer .venv/niivue-niivue-0.69.0.tgz

schema: $(READY)
	$(BIN)/python -m medsynth schema --out workflow/schemas/config.schema.json --page config/README.md

# A local build tag (+cpu) names a wheel that is not everywhere.
lock: $(READY)
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip compile pyproject.toml --extra dev --upgrade --no-header \
		--no-annotate --quiet --output-file requirements.lock
	sed -i.old 's/+cpu$$//' requirements.lock && rm requirements.lock.old

clean:
	rm -rf results report.html .snakemake site
