"""Execute notebooks in place, or check that what they show is what they compute.

Used by ``make notebooks`` and by ``tests/test_notebooks.py``. What is kept is the same on any machine: no
timings, no random cell names, no version of the interpreter.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LONGEST_PLAIN_TEXT = 2000
FIRST_CELL = """\
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="ipykernel")"""


def execute(path: Path, timeout_s: int = 600) -> NotebookNode:
    """Run every cell of a notebook in a new kernel in which warnings are errors.

    Args:
        path: the notebook; the kernel runs in its folder.
        timeout_s: how long one cell may take.

    Returns:
        The notebook with its new outputs.

    Raises:
        CellExecutionError: a cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST_CELL))
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    client.execute(env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)})
    del notebook.cells[0]
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs from run to run, and plain text that only repeats a formula at length."""
    notebook.metadata = nbformat.from_dict(METADATA)
    number = 0
    for index, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{index:02}", nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        number += 1
        cell.execution_count = number
        cell.outputs = joined(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
            data = output.get("data", {})
            if len(data) > 1 and len(data.get("text/plain", "")) > LONGEST_PLAIN_TEXT:
                del data["text/plain"]
    return notebook


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what a cell prints: how it is cut into messages differs from run to run."""
    found: list[NotebookNode] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type and output.name == found[-1].name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def shown_text(notebook: NotebookNode) -> list[Any]:
    """Return all text that the cells print or display; pictures are left out."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [o.text if o.output_type == "stream" else o.data.get("text/plain", "") for o in outputs]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        nbformat.write(execute(Path(name).resolve()), name)
        print(f"executed {name}")
