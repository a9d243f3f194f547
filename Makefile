# Two verbs do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS ?= 1
QUICK := $(addprefix tests/,config losses metrics learning storage data audio compression students transfer)

.PHONY: demo test quick slow oldest lint mutants coverage docs bench clean

$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "embcomp needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/embcomp demo --out demo

test: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0

# The rooms whose tests start no run and no command.
quick: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0 $(QUICK)

# An environment of its own with the oldest versions that setup.cfg allows; torch is that of constraints.txt.
oldest:
	$(PYTHON) tools/oldest.py > oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --constraint oldest.txt --editable . pytest pytest-timeout pytest-xdist hypothesis
	$(VENV)-oldest/bin/embcomp doctor
	$(VENV)-oldest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0 $(QUICK)

slow: $(VENV)/.installed
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pip install --quiet --editable '.[lint]' || echo "notice: pip-audit could not be installed"
	$(VENV)/bin/python tools/audit.py

# Hours: MUTANTS='--room metrics --sample 20' for less.
mutants: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --editable '.[mutants]'
	nice -n 19 $(VENV)/bin/python tools/mutants.py $(MUTANTS)

coverage: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --editable '.[mutants]'
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -o timeout=1200 --cov --cov-report=
	$(VENV)/bin/python -m coverage report --skip-covered --sort cover
	$(VENV)/bin/python -m coverage json --quiet -o .coverage.json
	$(VENV)/bin/python tools/covered.py .coverage.json

docs: $(VENV)/.installed
	EMBCOMP_DOCS_EXECUTE=1 NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet
	@echo "open site/index.html"

bench: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet --editable '.[bench]'
	$(VENV)/bin/python benchmarks/run_all.py

clean:
	rm -rf $(VENV) $(VENV)-oldest oldest.txt demo runs site .coverage*
