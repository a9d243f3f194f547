"""Commands run in a child of this process and killed at a chosen point."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

# What changes a folder; a process is killed just before one of these.
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


class _Killer:
    """Counts the file operations of this process, and ends it by SIGKILL at number `at`."""

    def __init__(self, at: int):
        self.at, self.count = at, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event in EVENTS:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def call(arguments: list, output: Path, kill_at: int = 0, kill_after: float = 0.0, number=signal.SIGKILL) -> tuple[int, int, float]:  # fmt: skip
    """Run the command line in a forked child, whose imports are done.

    Parameters
    ----------
    arguments : list
        Of ``embcomp``.
    output : Path
        Where its standard output and error go.
    kill_at : int, default=0
        Kill it before this file operation, counted from 1; 0 does not.
    kill_after : float, default=0.0
        Send it, and the workers it started, a signal after so many seconds; 0 does not.

    Returns
    -------
    code : int
        Exit code; minus the signal's number if one ended it.
    operations : int
        File operations it did, where it ended by itself; else 0.
    seconds : float
    """
    started = time.perf_counter()
    counted = output.with_suffix(".count")
    child = os.fork()
    if child == 0:
        _run(arguments, output, counted, kill_at)
    if kill_after:
        with contextlib.suppress(_Ended):
            _wait(child, started + kill_after)
            _signal(child, number)
    _, status = os.waitpid(child, 0)
    operations = int(counted.read_text()) if counted.exists() else 0
    counted.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), operations, time.perf_counter() - started


class _Ended(Exception):
    pass


def _wait(child: int, until: float) -> None:
    while time.perf_counter() < until:
        # Not reaped here: the caller does, and wants the code.
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise _Ended
        time.sleep(0.002)


def _signal(child: int, number: int) -> None:
    workers = Path(f"/proc/{child}/task/{child}/children").read_text().split() if number == signal.SIGKILL else []
    for process in [child, *map(int, workers)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _run(arguments: list, output: Path, counted: Path, kill_at: int) -> None:
    code = 70
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["embcomp", *map(str, arguments)]
        # A test run in the background may have been told to ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from embcomp.cli import main

        killer = _Killer(kill_at)
        sys.addaudithook(killer)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        killer.at = 0
        counted.write_text(str(killer.count))
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def points(seed: int, count: int, operations: int, seconds: float) -> list[dict]:
    """Seeded points to kill at, by turns at a file operation and after a time."""
    rng = random.Random(seed)
    found: list[dict] = []
    for number in range(count):
        if number % 2 == 0 and operations:
            found.append({"kill_at": rng.randint(1, operations)})
        else:
            found.append({"kill_after": rng.uniform(0.01, 1.0) * seconds})
    return found


def contents(folder: Path, leave: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file below a folder by its place; `leave` out those with these names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in leave
    }
