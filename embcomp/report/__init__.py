"""Reports for people: a short table, and a page that shows everything a run found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from embcomp.errors import ConfigError
from embcomp.report import learning, provenance, reach, results, students
from embcomp.report.blocks import Document
from embcomp.report.markdown import to_markdown
from embcomp.report.page import to_html
from embcomp.report.reading import Source, read_source
from embcomp.report.tables import columns_of, markdown_summary, table_lines
from embcomp.storage.files import write_text
from embcomp.storage.outputs import begun
from embcomp.storage.ownership import check_file
from embcomp.storage.places import named

__all__ = ["build", "markdown_summary", "table_lines", "to_html", "write_report"]


def write_report(paths: Sequence[str | os.PathLike], out: str | os.PathLike, *, latency: bool = False) -> list[Path]:
    """Write the report of runs, sweeps and tables of scores as one page.

    Parameters
    ----------
    paths : sequence of path
        Run folders, sweep folders, or tables of scores, shown side by side.
    out : path
        ``.html`` writes the page and, beside it, the same as Markdown; ``.md`` the Markdown alone.
    latency : bool, default=False
        Also time each variant's student on this machine.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        `out` ends in neither.
    ArtifactError
        A path is none of these, or a file in it is damaged; it is named. Or what is at `out` is no report of embcomp.
    """
    out = begun(out)
    if out.suffix not in (".html", ".md"):
        raise ConfigError(f"a report is written as .html or .md, not {out.suffix or 'a name without an end'}: {out}")
    if out.suffix == ".html":
        check_file(out, "report", lambda head: 'name="generator" content="embcomp"' in head)
    check_file(begun(named(out.with_suffix(".md"))), "report", _ours)
    document = build(paths, latency=latency)
    written = []
    if out.suffix == ".html":
        write_text(out, to_html(document))
        written.append(out)
    write_text(out.with_suffix(".md"), to_markdown(document))
    return [*written, out.with_suffix(".md")]


def _ours(head: str) -> bool:
    """Whether a Markdown file is a report: all have the section that says what they were made from."""
    return head.startswith("# ") and f"\n## {provenance.TITLE}\n" in head


def build(paths: Sequence[str | os.PathLike], *, latency: bool = False) -> Document:
    """Put the report together; see `write_report`."""
    sources = _named([read_source(path) for path in paths])
    found = [
        results.opening(sources),
        results.score_figure(sources),
        results.differences(sources),
        reach.crossing(sources),
        reach.robustness(sources),
        reach.dimension(sources),
        students.mistakes(sources),
        students.costs(sources, latency),
        learning.learning(sources),
        provenance.clips(sources),
        provenance.origin(sources),
    ]
    title = ", ".join(source.name for source in sources)
    return Document(title, tuple(section for section in found if section is not None))


def _named(sources: list[Source]) -> list[Source]:
    """The same sources, each with a name of its own, with a prefix where two could be mistaken for each other."""
    names = [source.name for source in sources]
    tests = [set() if source.summary is None else set(columns_of(source.summary)) for source in sources]
    for number, source in enumerate(sources):
        if names.count(source.name) > 1:
            source.name = f"{source.name} ({number + 1})"
        source.prefix = f"{source.name}: " if len(sources) > 1 else ""
        if any(tests[number] & other for place, other in enumerate(tests) if place != number):
            source.test_prefix = source.prefix
    return sources
