"""A report as Markdown: the values behind every figure instead of the figure."""

from __future__ import annotations

import re

from embcomp.report.blocks import Block, Cell, Code, Document, Figure, Folded, Points, Table, Text
from embcomp.report.svg import clean
from embcomp.report.tables import escaped


def to_markdown(document: Document) -> str:
    """Render a document; every text in it is shown as it is."""
    lines = [f"# {escaped(document.title)}", ""]
    for section in document.sections:
        if section.title:
            lines += [f"## {escaped(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block)
    return "\n".join(lines).rstrip() + "\n"


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        text = _paragraph(block.text)
        return [{"lead": f"**{text}**", "claim": f"**{text}**", "head": f"### {text}"}.get(block.kind, text), ""]
    if isinstance(block, Points):
        return [*(f"- {escaped(item)}" for item in block.items), ""]
    if isinstance(block, Code):
        text = clean(block.text).rstrip()
        # A fence longer than any run of backticks inside cannot be closed from within.
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
        return [fence, text, fence, ""]
    if isinstance(block, Folded):
        return [f"### {escaped(block.title)}", "", *(line for inner in block.blocks for line in _block(inner))]
    if isinstance(block, Figure):
        return [*_table(block.values), _paragraph(block.caption), ""]
    return _table(block) + ([_paragraph(block.caption), ""] if block.caption else [])


def _paragraph(text: str) -> str:
    """Escaped, and no list, heading or quotation by its first letter."""
    return re.sub(r"^(\d+)([.)])|^([#>+\-=~])", r"\1\\\2\3", escaped(text))


def _table(table: Table) -> list[str]:
    rows = [table.head, *table.rows]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return [lines[0], "|---" * len(table.head) + "|", *lines[1:], ""]


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, Cell):
        return escaped(f"{cell.text} ({cell.note})" if cell.note else cell.text)
    return escaped(cell)
