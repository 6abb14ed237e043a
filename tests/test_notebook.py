"""The notebook of the examples, run as a reader would run it."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    folder = tmp_path_factory.mktemp("notebook")
    client.execute(cwd=str(folder), env=settings)
    assert (folder / "adapters" / "two-less" / "config.json").exists()
    return notebook.cells


def test_the_notebook_runs_and_forgets(cells):
    shown = "".join(str(output) for cell in cells for output in cell.get("outputs", []))
    for said in ("label-mask", "passed:", "image/png", "'wine glass'"):
        assert said in shown


def test_the_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
