"""A report as one HTML page that needs nothing else: no network, no scripts but the switch of the theme."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from xml.etree.ElementTree import Element, tostring

from embcomp.report.blocks import Block, Cell, Code, Document, Figure, Folded, Points, Table, Text
from embcomp.report.charts import strip
from embcomp.report.svg import element

# The browser's own choice applies until the reader presses the button.
SCRIPT = """
const root = document.documentElement, button = document.getElementById("theme");
const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; show(); });
button.hidden = false;
show();
"""


def to_html(document: Document) -> str:
    """Render a document; every text in it is shown as it is."""
    style = resources.files("embcomp.report").joinpath("style.css").read_text(encoding="utf-8")
    key = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    # Whatever a name holds, the browser runs this script alone and fetches nothing.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{key}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        Element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="embcomp"),
        element("link", rel="icon", href="data:,"),
        element("title", document.title),
        element("style", style),
    )
    named = [section for section in document.sections if section.title]
    links = [element("a", section.title, href=f"#{_anchor(section.title)}") for section in named]
    top = element(
        "header",
        element("h1", document.title),
        element("button", "Dark", id="theme", type="button", hidden="", aria_label="Switch between light and dark"),
        element("nav", *links, aria_label="Sections"),
    )
    sections = [
        element(
            "section",
            *([element("h2", section.title)] if section.title else []),
            *(_block(block) for block in section.blocks),
            id=_anchor(section.title) or "claim",
        )
        for section in document.sections
    ]
    body = element("body", top, element("main", *sections), element("script", SCRIPT))
    return (
        "<!doctype html>\n" + tostring(element("html", head, body, lang="en"), encoding="unicode", method="html") + "\n"
    )


def _block(block: Block) -> Element:
    if isinstance(block, Text):
        return element("h3" if block.kind == "head" else "p", block.text, class_=block.kind)
    if isinstance(block, Points):
        return element("ul", *(element("li", item) for item in block.items))
    if isinstance(block, Code):
        return element("pre", element("code", block.text), tabindex="0")
    if isinstance(block, Folded):
        return element("details", element("summary", block.title), *(_block(inner) for inner in block.blocks))
    if isinstance(block, Figure):
        # Panels scroll sideways by themselves where a matrix is wider than the page.
        panels = [element("div", element("h4", one.get("aria-label", "")), one, class_="panel") for one in block.panels]
        return element(
            "figure",
            element("div", *panels, class_="panels"),
            element("figcaption", block.caption),
            _table(block.values),
        )
    return _table(block)


def _table(table: Table) -> Element:
    head = element("tr", *(element("th", name, scope="col") for name in table.head))
    numeric = [all(_is_number(row[number]) for row in table.rows) for number in range(len(table.head))]
    rows = []
    for row in table.rows:
        cells = [element("th", *_cell(row[0], table), scope="row")]
        cells += [
            element("td", *_cell(cell, table), class_="number" if right else None)
            for cell, right in zip(row[1:], numeric[1:])
        ]
        rows.append(element("tr", *cells))
    for cell, right in zip(list(head)[1:], numeric[1:]):
        cell.set("class", "number" if right else "")
    made = element("table", element("thead", head), element("tbody", *rows))
    scroll = element("div", made, class_="scroll", tabindex="0", role="region", aria_label=table.caption or "values")
    if table.folded:
        return element("details", element("summary", "The values as a table"), scroll)
    if table.caption:
        return element("div", scroll, element("p", table.caption, class_="caption"))
    return scroll


def _cell(cell: str | Cell, table: Table) -> list[Element | str]:
    if not isinstance(cell, Cell):
        return [cell]
    parts: list[Element | str] = [element("b", cell.text)]
    if cell.note:
        parts.append(element("small", cell.note))
    if cell.span:
        parts.append(strip(cell.span, table.scale))
    return parts


def _is_number(cell: str | Cell) -> bool:
    return isinstance(cell, str) and bool(
        re.fullmatch(r"[+\-−<]? ?[\d.,]+( ?(ms|[kMGT]?i?B|[kMG]))?|none|unknown|", cell)
    )


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
