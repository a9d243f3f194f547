"""A page to look at and listen to, in one file beside its sounds; it needs no server."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from embcomp.storage.files import write_text
from embcomp.storage.ownership import check_results, mark_results

KIND = "show"
PAGE = "index.html"


def check_folder(folder: str | os.PathLike, names: Iterable[str]) -> None:
    """Refuse a folder that has files of these names and is none of ours.

    Raises
    ------
    ArtifactError
        Names them.
    """
    check_results(folder, KIND, names)


def mark_folder(folder: str | os.PathLike) -> None:
    """Say in a folder that it is ours."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    mark_results(folder, KIND)


def write_page(folder: str | os.PathLike, title: str, about: str, content: dict[str, Any]) -> Path:
    """Write the page of a map or of a confusion matrix.

    Parameters
    ----------
    about : str
        What is shown, in a sentence or two.
    content : dict
        See ``page_files/show.js``. Names in it are put into the page as text.
    """
    files = resources.files("embcomp.show") / "page_files"
    script, style = (files.joinpath(name).read_text(encoding="utf-8") for name in ("show.js", "show.css"))
    key = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Whatever a name holds, the browser runs this script alone, and loads sounds of this machine alone.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:; script-src 'sha256-{key}'"
    # Data for a script must not end its element.
    data = json.dumps(content, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="embcomp">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p id="about">{html.escape(about)}</p>
<div id="picture"></div>
<div id="legend"></div>
<p id="status" role="status"></p>
<audio id="sound" controls hidden></audio>
<ol id="clips"></ol>
</main>
<script type="application/json" id="content">{data}</script>
<script>{script}</script>
</body>
</html>
"""
    path = Path(folder) / PAGE
    write_text(path, page)
    return path
