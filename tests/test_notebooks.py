"""The notebooks of `examples/` run from top to end, and their figures show."""

import pytest

nbclient = pytest.importorskip(
    "nbclient", reason="running notebooks needs nbclient, of the extra dev"
)
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.whole


@pytest.mark.parametrize(("name", "figures"), [("quickstart", 1), ("tour", 0)])
def test_it_runs_and_shows_figures(name, figures, root, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root))
    notebook = nbformat.read(root / "examples" / f"{name}.ipynb", 4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # stored without results
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=place).execute()
    told = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/png" in out.get("data", {}) for out in told) == figures
    last = [cell.outputs[-1] for cell in notebook.cells if cell.get("outputs")]
    assert all("data" in out or out["output_type"] == "stream" for out in last)
