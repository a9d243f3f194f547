"""The oldest versions that setup.cfg allows, as constraints for pip: python tools/oldest.py > oldest.txt.

torch is left out: its constraints are in constraints.txt, which keeps builds of several GB away.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

LEFT_OUT = frozenset({"torch"})
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+)")


def oldest(setup: Path) -> list[str]:
    """``name==version`` for each core requirement; of a version without a patch number, its first patches.

    Raises
    ------
    ValueError
        A requirement has no lower bound.
    """
    content = configparser.ConfigParser()
    content.read(setup, encoding="utf-8")
    lines = []
    for text in content["options"]["install_requires"].split():
        found = REQUIREMENT.fullmatch(text.split(",")[0])
        if found is None:
            raise ValueError(f"{text} in {setup} has no lower bound")
        if found[1] not in LEFT_OUT:
            lines.append(f"{found[1]}=={found[2]}" if found[2].count(".") > 1 else f"{found[1]}=={found[2]}.*")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest(Path(__file__).resolve().parents[1] / "setup.cfg")) + "\n")
