# make app    set up and start the app          make test   set up and run every test
# make check  ruff and mypy                     make lock   resolve requirements.lock anew
# make results, make benchmarks                 measure what docs/ reports
PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
NICE_ADDRESS := http://localhost:$(PORT)

.PHONY: app test check lock results benchmarks starter
app: $(VENV)/.app-ready
	@echo "Terratune: $(NICE_ADDRESS)   (stop it with Ctrl+C)"
	@exec $(BIN)/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.test-ready
	$(BIN)/python -m pytest $(TESTS)

check: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/mypy app.py errors.py workspace imagery labeling tiles models demo training inference server ui pages

lock: $(UV)
	$(UV) pip compile requirements-dev.txt --universal --python-version 3.11 --no-annotate --no-header --quiet --upgrade --output-file requirements.lock

results: $(VENV)/.test-ready
	$(BIN)/python -m benchmarks.results
	$(BIN)/python -m benchmarks.ladder
	for table in roads buildings trees scenes; do $(BIN)/python -m benchmarks.results_steps $$table || exit 1; done
	$(BIN)/python -m benchmarks.frozen_training

benchmarks: $(VENV)/.test-ready
	$(BIN)/python -m benchmarks.loop
	$(BIN)/python -m benchmarks.prediction_memory
	$(BIN)/python -m benchmarks.tiles compare
	$(BIN)/python -m benchmarks.prediction
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.shapes

# Train the bundled starter model again from nothing (two hours or more on two cores).
starter: $(VENV)/.test-ready
	$(BIN)/python -m training.starter scenes .cache/starter
	$(BIN)/python -m training.starter pretrain .cache/starter
	$(BIN)/python -m training.starter specialise .cache/starter ../shared/data/naip_roads

$(UV):
	$(PYTHON) -c 'import sys; sys.exit("Terratune needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv

$(VENV)/.app-ready: requirements.txt requirements.lock | $(UV)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --requirements requirements.txt --constraints requirements.lock
	@touch $@

$(VENV)/.test-ready: requirements.lock | $(UV)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --requirements requirements-dev.txt --constraints requirements.lock
	@touch $@ $(VENV)/.app-ready
