"""What a reader needs to trust a run and to repeat it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from embcomp.report.blocks import Code, Folded, Points, Section, Table, Text
from embcomp.report.reading import Source
from embcomp.report.tables import guard_notes, notes
from embcomp.storage.places import named

TITLE = "Where it comes from"
MAX_BAD = 200  # clips named one by one


def clips(sources: list[Source]) -> Section | None:
    """Clips left out, cut or unusable, and what the guards found."""
    blocks = []
    for source in sources:
        found: list = []
        remarks = notes(source.metrics)
        if remarks:
            found.append(Points(tuple(remarks)))
        bad = [one for one in source.metrics.get("bad_clips") or [] if isinstance(one, dict)]
        if bad:
            rows = tuple(tuple(str(one.get(name, "")) for name in ("row", "path", "reason")) for one in bad[:MAX_BAD])
            title = f"Unusable clips ({len(bad)})" + (f", the first {MAX_BAD}" if len(bad) > MAX_BAD else "")
            found.append(Folded(title, (Table(("row", "path", "reason"), rows),)))
        guarded = guard_notes(source.metrics.get("guards"), source.inputs)
        if guarded:
            found += [Text("What the leak guards found", "head"), Points(tuple(guarded))]
        if found and len(sources) > 1:
            found.insert(0, Text(source.name, "head"))
        blocks += found
    return Section("About the clips", tuple(blocks)) if blocks else None


def origin(sources: list[Source]) -> Section:
    """Command, settings, versions and hashes of each source, and what it lacks."""
    blocks: list = []
    for source in sources:
        blocks.append(Text(source.name, "head"))
        command = _command(source)
        blocks += [Text("To make it again:"), Code(command)] if command else []
        lacking = _lacking(source)
        if lacking:
            blocks.append(Text(f"Not in this report, because the files are not there: {'; '.join(lacking)}.", "note"))
        if source.config:
            blocks.append(Folded("Resolved settings (config.toml)", (Code(source.config),)))
        if source.environment or source.metrics:
            blocks.append(Folded("Seeds, versions, machine", (_environment(source),)))
        rows = tuple(sorted(source.hashes.items()))
        blocks.append(
            Folded(
                "Files read",
                (Table(("file", "SHA-256, first 16 digits"), rows), Text(f"From {named(source.path)}.", "note")),
            )
        )
    return Section(TITLE, tuple(blocks))


def _command(source: Source) -> str:
    if source.kind == "run":
        return (
            f"embcomp run --from {shlex.quote(named(source.path))} --out {shlex.quote(f'{named(source.path)}-again')}"
        )
    return ""


def _lacking(source: Source) -> list[str]:
    if source.kind == "sweep":
        return ["a run's scores (this is a sweep, whose command is not kept)"]
    wanted = {
        "paired comparisons (comparisons.csv)": source.comparisons is not None,
        "the best student's mistakes, and costs (predictions.json)": bool(source.index),
        "training curves (history.csv)": source.history is not None or source.inputs == "none",
        "settings, versions and the command (config.toml, environment.json)": bool(source.config),
    }
    return [name for name, there in wanted.items() if not there]


def _environment(source: Source) -> Table:
    rows = [(name, _plain(value)) for name, value in source.environment.items() if name != "packages"]
    packages = source.environment.get("packages")
    if isinstance(packages, dict):
        rows += [(name, _plain(value)) for name, value in packages.items()]
    if "folds" in source.metrics:
        rows.append(("folds", _plain(source.metrics["folds"])))
    return Table(("what", "value"), tuple(rows))


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(not isinstance(item, list | dict) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
