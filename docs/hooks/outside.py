"""Pages that lie outside of docs/, and links between them as they are in the repository.

The recipes, the change log and others are pages of the site without being copied. Every link is written so that it
leads somewhere in the repository; here it is turned to the page that its file has become. What is no page, such as
source code, is named by its path.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SINGLE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/RESULTS.md": "benchmarks/results.md",
    "recipes/README.md": "recipes/index.md",
}
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^(?:```.*?^```|~~~.*?^~~~)|`[^`\n]+`", re.M | re.S)


def outside() -> dict[str, str]:
    """Path in the repository of every page that is not in docs/, and its place in the site."""
    places = {path: place for path, place in SINGLE.items() if (ROOT / path).exists()}
    for page in sorted((ROOT / "recipes").glob("*/README.md")):
        places[page.relative_to(ROOT).as_posix()] = f"recipes/{page.parent.name}.md"
    for picture in sorted((ROOT / "recipes").glob("*/*.svg")):
        places[picture.relative_to(ROOT).as_posix()] = picture.relative_to(ROOT).as_posix()
    return places


def place_of(path: str, pages: dict[str, str]) -> str | None:
    """Where a path of the repository is in the site; None where it is not."""
    if path in ("README.md", "."):
        return "index.md"
    if path in ("docs", "notebooks", "recipes", "benchmarks"):
        return f"{path}/index.md" if path != "docs" else "index.md"
    for name in (path, f"{path}/README.md"):
        if name in pages:
            return pages[name]
    if path.startswith("notebooks/") and path.endswith(".ipynb"):
        return path.removesuffix("ipynb") + "md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def on_config(config):
    """Fill folders of the navigation with their pages."""
    listed = {
        "recipes/": ["recipes/index.md", *sorted(place for place in outside().values() if _is_recipe(place))],
    }
    config["nav"] = [_filled(entry, listed) for entry in config["nav"]]
    own = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")) if "hooks" not in path.parts]
    _add(config["nav"], "Guide", own)
    _add(config["nav"], "Project", [place for place in outside().values() if place.endswith(".md")])
    return config


def _add(nav, title, pages) -> None:
    """Append to a section the pages that nothing in the navigation names, so that a new page is never lost."""
    named = set(_named(nav))
    section = next(entry[title] for entry in nav if title in entry)
    section += [page for page in pages if page not in named]


def _named(entry):
    if isinstance(entry, str):
        yield entry
    for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _named(below)


def _is_recipe(place: str) -> bool:
    return place.startswith("recipes/") and place.endswith(".md") and place != "recipes/index.md"


def _filled(entry, listed):
    if not isinstance(entry, dict):
        return entry
    ((title, value),) = entry.items()
    if isinstance(value, list):
        return {title: [_filled(one, listed) for one in value]}
    return {title: listed.get(value, value)}


def on_files(files, config):
    """Add the pages."""
    for path, place in outside().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn the links of a page to where the files are in the site."""
    pages = outside()
    uri = page.file.src_uri
    home = {place: path for path, place in pages.items()}.get(
        uri, uri if uri.startswith("notebooks/") else f"docs/{uri}"
    )

    def turned(found: re.Match) -> str:
        target, _, anchor = found["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        place = place_of(path, pages)
        if place is not None and files.get_file_from_path(place) is not None:
            there = os.path.relpath(place, posixpath.dirname(page.file.src_uri) or ".").replace(os.sep, "/")
            return f"{found['mark']}[{found['text']}]({there}{'#' if anchor else ''}{anchor})"
        if not (ROOT / path).exists():
            return found[0]  # a broken link, which the build reports
        text = found["text"].strip("`")
        return f"`{path}`" if path.endswith(text) else f"{found['text']} (`{path}`)"

    parts, last = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(turned, markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, LINK.sub(turned, markdown[last:])])
