"""Notebooks as pages: their text and code, and with EMBCOMP_DOCS_EXECUTE=1 what the code shows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTE = "EMBCOMP_DOCS_EXECUTE"
INDEX = """# Notebooks

Each runs from top to bottom in about a minute, on sounds that it generates or on the scores in the repository. Install what they need with
`pip install -e '.[nb,viz]'` in a clone, and open them from `notebooks/`.

| notebook | question |
|---|---|
"""


def title(notebook: dict) -> str:
    """The heading of its first cell."""
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].removeprefix("# ")


def first_sentence(notebook: dict) -> str:
    """The first sentence below the heading."""
    text = " ".join("".join(notebook["cells"][0]["source"]).split("\n\n")[1].split())
    return re.split(r"(?<=[.?!]) ", text)[0]


def executed(path: Path) -> dict:
    """The notebook with its outputs."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, startup_timeout=240, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    return json.loads(nbformat.writes(notebook))


def markdown(notebook: dict) -> str:
    """A notebook as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown for output in cell.get("outputs", ()) if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: dict) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="Output of the cell above" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.S)
        table = table.replace(' border="1" class="dataframe"', "")
        return '<div class="output">' + re.sub(r"\n\s*", "", table) + "</div>"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def on_config(config):
    """Name the notebooks in the navigation."""
    pages = ["notebooks/index.md", *(f"notebooks/{path.stem}.md" for path in NOTEBOOKS)]
    config["nav"] = [{"Notebooks": pages} if entry == {"Notebooks": "notebooks/"} else entry for entry in config["nav"]]
    return config


def on_files(files, config):
    """Add a page for each notebook, and one that lists them."""
    rows = []
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        rows.append(f"| [{title(notebook)}]({path.name}) | {first_sentence(notebook)} |")
        shown = executed(path) if os.environ.get(EXECUTE) else notebook
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=markdown(shown)))
    files.append(File.generated(config, "notebooks/index.md", content=INDEX + "\n".join(rows) + "\n"))
    return files
