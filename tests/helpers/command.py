"""The command line as a user calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments, timeout=120) -> subprocess.CompletedProcess:
    """The command line in a process of its own, as a user calls it."""
    command = [sys.executable, "-m", "embcomp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout)
