"""The notebook runs from its first cell to its last."""

import nbformat
import pytest
from documents import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def test_notebook_is_kept_without_output():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(not each.get("outputs") for each in cells)


@pytest.mark.slow
# ZeroMQ, which talks to the kernel, forks in its own way on some systems.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert (tmp_path / "photos.onnx").is_file()
    assert (tmp_path / "photos.onnx.card.md").is_file()
    classified = notebook.cells[-2].outputs[0]["data"]["text/plain"]
    assert "photos/test" in classified
