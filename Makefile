# Two commands from a fresh clone: `make demo` (a scan becomes a mesh) and `make test`. Python >= 3.10 is all they need.
# The torch of this environment only; users keep theirs. Another build: make TORCH="torch --index-url ADDRESS" venv
TORCH ?= torch==2.13.0
PYTHON ?= python3
SHAPE ?= bracket

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: venv demo test lint docs bench dist clean

venv: $(INSTALLED)

$(INSTALLED): setup.py pyproject.toml $(wildcard surfrecon/ops/native/*.cpp surfrecon/ops/native/*.h)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e .[test]
	touch $@

demo: venv
	mkdir -p demo
	$(BIN)/python -m surfrecon.data_tools.simulate $(SHAPE) -o demo/scan.ply --truth demo/truth.ply
	$(BIN)/reconstruct-from-scan demo/scan.ply -o demo/mesh.ply --overwrite
	$(BIN)/surfrecon evaluate demo/mesh.ply --truth demo/truth.ply
	$(BIN)/surfrecon render demo/mesh.ply -o demo/mesh.png --overwrite
	@echo
	@echo "scan     demo/scan.ply"
	@echo "mesh     demo/mesh.ply"
	@echo "report   demo/mesh.run/report.html"
	@echo "picture  demo/mesh.png"

# Two processes, each on one thread; neighbouring tests stay together, and share what they set up.
test: export OMP_WAIT_POLICY = passive
test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: venv
	$(BIN)/ruff check .

docs: venv  # docs/_build/index.html
	$(BIN)/python docs/make_settings.py
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

bench: venv  # against Open3D, on what lies in ../shared/data; about three hours, writes benchmarks/RESULTS.md
	$(BIN)/python -m pip install open3d matplotlib
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/signs.py
	$(BIN)/python benchmarks/scans.py
	$(BIN)/python benchmarks/harder.py
	$(BIN)/python benchmarks/methods.py
	$(BIN)/python benchmarks/priors.py
	$(BIN)/python benchmarks/sharp.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/command.py
	$(BIN)/python benchmarks/presets.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/large.py --most 10000000
	$(BIN)/python benchmarks/drill.py
	$(BIN)/python -m pip install pycolmap
	$(BIN)/python benchmarks/images.py
	$(BIN)/python benchmarks/ablations.py
	$(BIN)/python benchmarks/poses.py
	$(BIN)/python benchmarks/sequence.py

dist: venv
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) demo build dist docs/_build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
