"""Commands run in a child of this process and disturbed at a chosen point: killed, interrupted, or out of disk."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import random
import resource
import signal
import sys
import threading
import time
from pathlib import Path

# What changes a folder; a process is disturbed just before one of these.
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
GROWS = ("open", "os.mkdir", "os.rename")  # what a full disk refuses
KINDS = ("kill", "interrupt", "full")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}
# What commands import when they are called: imported before the fork, a child is disturbed in its work.
HEAVY = ("soundfile", "soxr", "sklearn.decomposition", "sklearn.linear_model", "torch._dynamo", "safetensors.torch",
         "embcomp.compression", "embcomp.teachers", "embcomp.training.distill", "embcomp.training.compress", "embcomp.pipeline.runner",
         "embcomp.export.writing", "embcomp.export.c", "embcomp.cli.apply", "embcomp.cli.embed", "embcomp.cli.compress", "embcomp.cli.distill", "embcomp.cli.export",
         "embcomp.cli.run")  # fmt: skip

FINISHED = ".finished.json"  # what a run notes of times of files, which no two runs share


class _Fault:
    """Counts the file operations of this process, and disturbs it at number `at`.

    A disk that is ``full`` lets every file grow to `room` bytes from then on; where `room` is negative, nothing can be
    created or renamed.
    """

    def __init__(self, kind: str, at: int, room: int, closed: Path | None = None):
        self.kind, self.at, self.room, self.count, self.full = kind, at, room, 0, False
        self.closed = None if closed is None else os.fsencode(closed)

    def __call__(self, event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if not writes and event not in EVENTS:
            return
        self.count += 1
        if (
            self.closed
            and event in GROWS
            and not isinstance(arguments[0], int)
            and os.fsencode(arguments[0]).startswith(self.closed)
        ):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), arguments[0])
        if self.count == self.at:
            if self.kind == "full":
                self.full = True
                if self.room >= 0:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, resource.RLIM_INFINITY))
            else:
                os.kill(os.getpid(), SIGNALS[self.kind])
        created = event != "open" or "r" not in arguments[1]
        if self.full and self.room < 0 and created and event in GROWS and arguments[0] != os.devnull:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    def stop(self) -> None:
        if self.full and self.room >= 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        self.at, self.full, self.closed = 0, False, None


def call(arguments: list, output: Path, *, kind: str = "kill", at: int = 0, room: int = 0, after: float = 0.0, number: int = 0, closed: Path | None = None, before=lambda: None) -> tuple[int, int, float]:  # fmt: skip
    """Run the command line in a forked child, whose imports are done.

    Parameters
    ----------
    arguments : list
        Of ``embcomp``.
    output : Path
        Gets its standard output and error.
    kind : {"kill", "interrupt", "full"}
    at : int, default=0
        Disturb it before this file operation, counted from 1; 0 does not.
    room : int, default=0
        Bytes that a file may have on a full disk; negative is none, and no new file.
    after : float, default=0.0
        Send it a signal so many seconds after its start, with SIGKILL its workers too; 0 does not.
    number : int, optional
        Of that signal, by default the one of `kind`.
    closed : Path, optional
        Folder in which nothing can be written; root, too, is told so.
    before : callable, optional
        Called in the child first.

    Returns
    -------
    code : int
        Exit code; minus the signal's number if one ended it.
    operations : int
        File operations it did, where it ended by itself; else 0.
    seconds : float
    """
    for name in HEAVY:
        importlib.import_module(name)
    started = time.perf_counter()
    counted = output.with_suffix(".count")
    # A pipe: a file for the output would run into the limit of a full disk too.
    outlet, inlet = os.pipe()
    started_by, starts = os.pipe()  # on a busy machine a child may not run for a while
    child = os.fork()
    if child == 0:
        os.close(outlet)
        _run(arguments, inlet, starts, counted, _Fault(kind, at, room, closed), before)
    os.close(inlet)
    os.close(starts)
    said: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(outlet, said), daemon=True)
    reader.start()
    if after:
        os.read(started_by, 1)
        with contextlib.suppress(_Ended):
            _wait(child, time.perf_counter() + after)
            _signal(child, number or SIGNALS[kind])
    os.close(started_by)
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - started
    reader.join(60)  # workers may hold the pipe for a moment
    output.write_bytes(b"".join(said))
    operations = int(counted.read_text()) if counted.exists() else 0
    counted.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), operations, seconds


def _drain(outlet: int, said: list[bytes]) -> None:
    while piece := os.read(outlet, 1 << 16):
        said.append(piece)
    os.close(outlet)


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


def _run(arguments: list, inlet: int, starts: int, counted: Path, fault: _Fault, before) -> None:
    code = 70
    try:
        os.dup2(inlet, 1)
        os.dup2(inlet, 2)
        os.close(inlet)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["embcomp", *map(str, arguments)]
        # A test run in the background may have been told to ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from embcomp.cli import main

        before()
        sys.addaudithook(fault)
        os.write(starts, b".")
        os.close(starts)
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        fault.stop()
        counted.write_text(str(fault.count))
    except BaseException as error:
        import traceback

        fault.stop()
        traceback.print_exception(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def points(seed: int, count: int, operations: int, seconds: float, kind: str = "kill") -> list[dict]:
    """Seeded points to disturb at: by turns at a file operation and, for a signal, after a time."""
    rng = random.Random(f"{seed} {kind}")
    found: list[dict] = []
    for number in range(count):
        if kind == "full":
            room = rng.choice([-1, 0, rng.randint(1, 300), rng.randint(300, 20_000)])
            found.append({"kind": kind, "at": rng.randint(1, operations), "room": room})
        elif number % 2 == 0 and operations:
            found.append({"kind": kind, "at": rng.randint(1, operations)})
        else:
            found.append({"kind": kind, "after": rng.uniform(0.01, 1.0) * seconds})
    return found


def contents(folder: Path, leave: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file below a folder by its place; `leave` out those with these names, and what a run notes of the others' times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (*leave, FINISHED)
    }
