# The two that matter: `make train` and `make test`. Overrides go into ARGS, as in: make train ARGS="task=multiply T=500"
PYTHON ?= python3
ARGS ?=
# a release candidate is installed only where a bound names one
HYDRA_NEXT := $(patsubst %,"%>=1.4.0rc3",hydra-core hydra-joblib-launcher hydra-optuna-sweeper hydra-submitit-launcher)
BIN := .venv/bin
RUNS := .venv/.runs
STAMP := .venv/.installed
# what is not compiled when it is installed must be kept when it is first imported: else every process compiles it again
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install train sweep evaluate kernels test test-slow test-busy test-gpu test-gpu-kernels test-ray test-peers test-hydra-next test-oldest test-newest kills mutants audit browser screenshots lint types docs docs-check coverage tensorboard benchmark gpu-kernels build format clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# what the commands need, and then what the tests use, without bytecode: most of it is never imported, and compiling it takes
# half the CPU time
$(RUNS): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e . -c constraints.txt
	@touch $@

$(STAMP): $(RUNS)
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -e ".[dev]" -c constraints.txt
	@touch $@

install: $(STAMP)  ## Make .venv with everything that the tests use

train: $(RUNS)  ## Train; ARGS="task=multiply T=1000" passes overrides
	@$(BIN)/python -m ffattn.train $(ARGS)

sweep: $(RUNS)  ## A small sweep, which goes on where it was when it is started again
	@$(BIN)/python -m ffattn.train -m task=add,multiply model=ffattn,mean T=50 seed=0,1 updates=3000 \
		hydra.sweep.dir=outputs/sweep/example trainer.progress=none $(ARGS)

evaluate: $(RUNS)  ## Evaluate; ARGS="checkpoint=PATH T=10000"
	@$(BIN)/python -m ffattn.evaluate $(ARGS)

test: $(STAMP)  ## Run the tests; ARGS="-k resume" passes options to pytest
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

kernels: $(RUNS)  ## Compile the CPU's kernels, once for all; otherwise the first tests do it, each worker for itself
	$(BIN)/python -m tests.compile_kernels

# with no compiled kernels to start from: what compiles them is seen only where they are compiled
coverage: $(STAMP)  ## Run the tests, and print which lines of src no test runs in its own process
	rm -rf .venv/coverage
	NUMBA_CACHE_DIR=$(CURDIR)/.venv/coverage $(BIN)/python -m pytest -q -n 2 --dist worksteal --cov=ffattn --cov=hydra_plugins --cov-report=term-missing:skip-covered $(ARGS)

test-slow: $(STAMP)  ## Run the tests that make test leaves out
	$(BIN)/python -m pytest -q -n 2 -m slow $(ARGS)

test-busy: $(STAMP)  ## Run the tests that send signals or kill, the slow ones too, beside BUSY=4 busy processes
	$(BIN)/python tests/busy.py $(or $(BUSY),4) $(BIN)/python -m pytest -q -m signals tests/cli tests/train tests/scripts $(ARGS)

test-gpu: $(STAMP)  ## Run the tests that say more where there is a GPU
	$(BIN)/python -m pytest -q -m gpu $(ARGS)

test-gpu-kernels: $(STAMP)  ## Compile the GPU's kernels, which needs no GPU, and note the sources that compiled
	$(BIN)/python -m pytest -q -m slow tests/unit/ops/test_triton_compiles.py $(ARGS)
	$(BIN)/python -m tests.unit.ops.kernel_sources

browser:  ## Install the browser that some tests look with, where Debian's packages can be installed
	@command -v chromium chromedriver >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; } \
		>/dev/null 2>&1 || echo "no chromium, and none could be installed: the tests with a browser are skipped"

screenshots: browser $(STAMP)  ## Take the screenshots that the documentation shows
	FFATTN_SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -q -m browser $(ARGS)

test-ray:  ## Run the tests of sweeps by Ray, in .venv-ray, with the older packages that its launcher wants
	$(PYTHON) -m venv .venv-ray
	grep -v "^cloudpickle\|^joblib" constraints.txt > .venv-ray/constraints.txt
	.venv-ray/bin/python -m pip install -q --disable-pip-version-check -e ".[ray,sweep,test]" -c .venv-ray/constraints.txt
	.venv-ray/bin/python -m pytest -q tests/cli/test_ray.py $(ARGS)

test-peers:  ## Run the checks of scikit-learn, sktime and aeon, all of them, in .venv-peers, with the Numba that aeon wants
	$(PYTHON) -m venv .venv-peers
	grep -v "^numba\|^llvmlite\|^numpy" constraints.txt > .venv-peers/constraints.txt
	.venv-peers/bin/python -m pip install -q --no-compile --disable-pip-version-check -c .venv-peers/constraints.txt \
		-e ".[aeon,sktime,test]" polars psutil
	.venv-peers/bin/python -m pytest -q -n 2 --dist worksteal -m "slow or not slow" tests/estimators $(ARGS)

test-hydra-next:  ## Run the tests of settings, commands and sweeps, in .venv-hydra-next, with Hydra's next release
	$(PYTHON) -m venv .venv-hydra-next
	grep -v "^hydra-\|^omegaconf\|^antlr4-\|^optuna" constraints.txt > .venv-hydra-next/constraints.txt
	.venv-hydra-next/bin/python -m pip install -q --no-compile --disable-pip-version-check -c .venv-hydra-next/constraints.txt \
		-e ".[export,loggers,pictures,real,sweep,test]" $(HYDRA_NEXT)
	.venv-hydra-next/bin/python -m pytest -q -n 2 --dist worksteal tests/config tests/cli $(ARGS)

# $(call test_with,name of the environment,uv's way of choosing versions): not those of torch and its companions, which pip
# takes from constraints.txt; uv would install CUDA's. Another Numba does not read what this one has compiled
define test_with
	$(PYTHON) -m venv .venv-$(1)
	.venv-$(1)/bin/python -m pip install -q --disable-pip-version-check uv hatchling editables
	.venv-$(1)/bin/uv pip compile -q --python .venv-$(1)/bin/python --no-annotate --no-header --resolution $(2) pyproject.toml \
		$(addprefix --extra ,sweep pictures real export loggers test) -o .venv-$(1)/all.txt
	grep -v "^torch==\|^triton==\|^nvidia-\|^cuda-" .venv-$(1)/all.txt > .venv-$(1)/requirements.txt
	grep "^torch<\|^triton==" constraints.txt >> .venv-$(1)/requirements.txt
	.venv-$(1)/bin/python -m pip install -q --no-compile --disable-pip-version-check -r .venv-$(1)/requirements.txt
	.venv-$(1)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	NUMBA_CACHE_DIR=$(CURDIR)/.venv-$(1)/compiled .venv-$(1)/bin/python -m pytest -q -n 2 --dist worksteal -W ignore::DeprecationWarning \
		tests/config tests/unit tests/train $(ARGS)
endef

test-oldest:  ## Run tests, in .venv-oldest, with the oldest versions that are allowed of everything but torch
	$(call test_with,oldest,lowest-direct)

test-newest:  ## Run tests, in .venv-newest, with the newest versions that are allowed of everything but torch
	$(call test_with,newest,highest)

kills: $(STAMP)  ## Kill runs at a hundred random moments, and compare them with runs that were left alone
	$(BIN)/python -m scripts.checks.kills $(ARGS)

mutants: $(STAMP)  ## Change operators and settings in small ways, and list the changes that no test notices: an hour
	$(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install -q --disable-pip-version-check cosmic-ray==8.7.0
	.venv-mutants/bin/python -m scripts.checks.mutants --python $(BIN)/python $(ARGS)

# a local build, such as torch+cpu, is looked up as the release that it was made from
audit: $(STAMP)  ## List licences, and known vulnerabilities; fails where the internet cannot be asked for them
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install -q --disable-pip-version-check pip-audit pip-licenses
	.venv-audit/bin/pip-licenses --python $(BIN)/python --order license --summary
	$(BIN)/python -m pip freeze --exclude-editable | sed "s/+.*//" > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps -r .venv-audit/installed.txt

lint: $(STAMP)  ## Check style, and that imports go down only
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/lint-imports

types: $(STAMP)  ## Check types
	$(BIN)/mypy

docs-check: $(STAMP)  ## Run the README's commands and examples, and check its links
	$(BIN)/python -m pytest -q tests/docs

docs: $(STAMP)  ## Build the documentation site into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo build/site/index.html

tensorboard: $(RUNS)  ## Look at all runs under outputs/ in a browser
	$(BIN)/tensorboard --logdir outputs

benchmark: $(STAMP)  ## Time the operators and a training step; ARGS="--save docs/benchmarks/cpu.md"
	$(BIN)/python -m scripts.benchmarks $(ARGS)

gpu-kernels: $(STAMP)  ## Compile the GPU's kernels, here, and print what they use; ARGS="--capability 8.0"
	@$(BIN)/python -m scripts.benchmarks.gpu_kernels $(ARGS)

build: $(STAMP)  ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m build --no-isolation

format: $(STAMP)  ## Put the code into its standard form
	$(BIN)/ruff check --fix -q src tests scripts
	$(BIN)/ruff format src tests scripts

clean:  ## Remove everything that is made from the sources; outputs/ stays
	rm -rf .venv .venv-ray .venv-peers .venv-hydra-next .venv-oldest .venv-newest .venv-mutants .venv-audit dist build .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage src/*.egg-info
	find src tests scripts -name __pycache__ -type d -exec rm -rf {} +
