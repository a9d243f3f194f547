"""The command line as a user calls it."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from embcomp.cli import main

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments, timeout=120) -> subprocess.CompletedProcess:
    """The command line in a process of its own, as a user calls it."""
    command = [sys.executable, "-m", "embcomp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout)


def answered(*arguments) -> subprocess.CompletedProcess:
    """The same in this process, which has imported the libraries already: a process takes seconds to."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(sys, "argv", ["embcomp", *map(str, arguments)]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(contextlib.chdir(ROOT))
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        finally:
            for kind, handler in handlers.items():
                signal.signal(kind, handler)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
