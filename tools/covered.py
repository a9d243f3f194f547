"""Print how much of each room ran, as a table: python tools/covered.py coverage.json, which `coverage json` writes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

PARTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def room_of(file: str) -> str:
    inside = Path(file).parts
    inside = inside[inside.index("embcomp") + 1 :]
    return inside[0] if len(inside) > 1 else "files beside the rooms"


def table(measured: dict) -> list[str]:
    """Rows of Markdown: the best covered room first, and all of them last."""
    rooms: dict[str, Counter] = {}
    for file, found in measured["files"].items():
        rooms.setdefault(room_of(file), Counter()).update({name: found["summary"][name] for name in PARTS})
    known = sorted(rooms.items(), key=lambda item: -share(item[1], "covered_lines", "num_statements"))
    rows = ["| room | lines | run | branches | run |", "|---|---|---|---|---|"]
    for room, counts in [*known, ("all", sum(rooms.values(), Counter()))]:
        lines = share(counts, "covered_lines", "num_statements")
        branches = share(counts, "covered_branches", "num_branches")
        rows.append(
            f"| {room} | {counts['num_statements']:,} | {lines:.1f} % | {counts['num_branches']:,} | {branches:.1f} % |"
        )
    return rows


def share(counts: Counter, part: str, whole: str) -> float:
    return 100 * counts[part] / counts[whole] if counts[whole] else 100.0


if __name__ == "__main__":
    sys.stdout.write("\n".join(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))) + "\n")
