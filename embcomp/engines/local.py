"""Where independent jobs run: in this process, or in worker processes.

A job is a function of embcomp named ``module:function`` and JSON-able arguments;
what it makes lies on disk. Workers are plain ``python -m embcomp.engines.local``
processes that read jobs from a pipe: they need no guard in the caller's script,
unpickle nothing, and end when the process that started them does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from embcomp.engines.base import PATIENCE, RETRIES, THREAD_VARIABLES, answer, died, hung, name_of, raise_error


def available_cores() -> int:
    """Cores this process may use: its affinity, cut to the quota of its control groups."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    quota = cgroup_cores()
    return cores if quota is None else max(1, min(cores, int(quota)))


def cgroup_cores(
    mount: str | os.PathLike = "/sys/fs/cgroup", own: str | os.PathLike = "/proc/self/cgroup"
) -> float | None:
    """Cores' worth of time that the control groups of this process grant, version 2 or 1; None is no limit.

    Parameters
    ----------
    mount : path
        Where the control groups lie.
    own : path
        File that says in which of them this process is.
    """
    try:
        lines = Path(own).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = ["0::/"]
    quotas = []
    for line in lines:
        _, controllers, place = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = Path(mount, "cpu") if controllers else Path(mount)
        # A group has no more than the tightest one it lies in. In a container the path may be the host's,
        # which is not to be seen there: what is mounted is the own group.
        group = Path(os.path.normpath("/" + place.strip("/"))).relative_to("/")
        quotas += [quota for part in (group, *group.parents) if (quota := _quota(root / part)) is not None]
    return min(quotas, default=None)


def _quota(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()[:2]
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        # Version 2 writes "max" and version 1 a negative number where there is no limit.
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def free_cores() -> int:
    """Available cores that nobody keeps busy just now; at least 1."""
    cores, idle = available_cores(), _idle_cores()
    return cores if idle is None else max(1, min(cores, round(idle)))


def _idle_cores(seconds: float = 0.2) -> float | None:
    """How many of the machine's cores idle over a moment; None where the system does not tell."""

    def ticks() -> tuple[int, int]:
        with open("/proc/stat", encoding="ascii") as file:
            numbers = [int(part) for part in file.readline().split()[1:9]]
        return numbers[3] + numbers[4], sum(numbers)

    try:
        idle_before, all_before = ticks()
        time.sleep(seconds)
        idle, total = ticks()
        # The load average would also tell, but for a minute it still counts work that has ended.
        return (idle - idle_before) / (total - all_before) * (os.cpu_count() or 1)
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        return None


def limit_by_environment(threads: int) -> None:
    """Limit numeric libraries that are loaded from now on; loads none."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)


def set_threads(threads: int) -> None:
    """Limit the numeric libraries of this process to `threads` threads."""
    limit_by_environment(threads)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


class Engine:
    """Runs jobs, several at a time; use it in a ``with`` block.

    Parameters
    ----------
    workers : int
        Processes; 0 is one per free core, 1 runs jobs in this process.
    threads : int, default=1
        Threads of each worker's numeric libraries.
    patience : float, default=900
        Seconds after which a worker that uses no processor time is given up, where the system tells (Linux): a job may
        take days, but one that waits for a drive that does not answer would wait for ever.
    """

    def __init__(self, workers: int = 0, threads: int = 1, patience: float = PATIENCE):
        self.workers = workers or max(1, free_cores() // threads)
        self.threads, self.patience = threads, patience
        self._pool: list[Worker] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        while self._pool:
            self._pool.pop().stop()

    def map(
        self, function: Callable[..., Any], jobs: Sequence[dict[str, Any]], gpus: int = 0, processes: int = 1
    ) -> Iterator[tuple[int, Any]]:
        """Run ``function(**job)`` for each job.

        Parameters
        ----------
        function : callable
            A module-level function of an importable module.
        jobs : sequence of dict
            JSON-able keyword arguments.
        gpus : int, default=0
            GPUs that a job needs. Processes of one machine share those that are there.
        processes : int, default=1
            How many a job starts itself; so many fewer jobs run at a time.

        Yields
        ------
        number, result
            Of each job as it ends; the order is not that of `jobs`.

        Raises
        ------
        EmbcompError
            A job failed, or its worker was killed every time. What others have finished lies on disk.
        """
        set_threads(self.threads)
        workers = min(max(1, self.workers // processes), len(jobs))
        if workers <= 1:
            for number, job in enumerate(jobs):
                yield number, function(**job)
            return
        name = name_of(function)
        waiting = list(range(len(jobs)))[::-1]
        # Importing torch takes seconds: workers are kept for the next call.
        self._pool += [Worker() for _ in range(workers - len(self._pool))]
        arrived: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._pool[:workers]:
            worker.start(name, number := waiting.pop(), jobs[number], arrived)
        tries, left = [0] * len(jobs), len(jobs)
        while left:
            worker = self._next(arrived)
            number, given = worker.number, worker.answer
            again = worker.killed and tries[number] < RETRIES
            if again:
                tries[number] += 1
                waiting.append(number)
                worker = self._replaced(worker)
            elif "error" in given:
                self.__exit__()
                raise_error(given)
            if waiting:
                worker.start(name, following := waiting.pop(), jobs[following], arrived)
            if not again:
                left -= 1
                yield number, given["result"]

    def _replaced(self, worker: Worker) -> Worker:
        """A new worker instead of one that is dead."""
        worker.stop()
        new = Worker()
        self._pool[self._pool.index(worker)] = new
        return new

    def _next(self, arrived: queue.SimpleQueue) -> Worker:
        """The next worker that answers."""
        while True:
            try:
                return arrived.get(timeout=min(5.0, self.patience / 4))
            except queue.Empty:
                if any(worker.idle() > self.patience for worker in self._pool if worker.busy):
                    self.__exit__()
                    raise hung(self.patience) from None


class Worker:
    """A process that runs jobs, one after the other.

    Parameters
    ----------
    environment : dict of str to str, optional
        Variables that it gets beside those of this process.
    """

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "embcomp.engines.local"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the parent, which then stops its workers
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
                **(environment or {}),
            },
        )
        self.number, self.busy, self.killed = -1, False, False
        self.answer: dict[str, Any] = {}
        self._worked: tuple[float | None, float] = (None, 0.0)

    def start(self, name: str, number: int, job: dict[str, Any], arrived: queue.SimpleQueue) -> None:
        """Give it a job, the function's name as ``module:function``; it is put into `arrived` when its answer is there."""
        self.number, self.busy = number, True
        self._worked = (None, time.monotonic())
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"function": name, "job": job}) + "\n")
            self.process.stdin.flush()
        threading.Thread(target=self._wait, args=(arrived,), daemon=True).start()

    def _wait(self, arrived: queue.SimpleQueue) -> None:
        line = self.process.stdout.readline()
        try:
            self.answer = json.loads(line)
        except ValueError:
            code = self.process.wait()
            self.killed = code < 0  # by a signal: one that failed by itself would fail again
            self.answer = {"kind": "EmbcompError", "error": str(died(f"exit code {code}")), "died": True}
        self.busy = False
        arrived.put(self)

    def idle(self) -> float:
        """Seconds since it was last seen to have used processor time."""
        used, now = cpu_seconds(self.process.pid), time.monotonic()
        if used is None or used != self._worked[0]:
            self._worked = (used, now)
        return now - self._worked[1]

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def cpu_seconds(process: int) -> float | None:
    """Processor time that a process, with what it started and has ended, has used; None where the system does not tell."""
    try:
        numbers = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        return sum(map(int, numbers[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def serve() -> None:
    """Read jobs from standard input until it closes, answering each with one line."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    set_threads(int(os.environ.get(THREAD_VARIABLES[0], "1")))
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(answer(request["function"], request["job"])) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
