"""Where independent jobs run: in workers of a Ray cluster, or of one that is started on this machine.

Jobs and answers are JSON as in `embcomp.engines.local`; what jobs make lies on disks that every machine sees at the same
place. ``RAY_ADDRESS`` names the cluster. A worker is a Ray actor that takes one job at a time: what it has loaded stays
for the next, and no more jobs are under way than there are workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from embcomp import __version__
from embcomp.engines.base import PATIENCE, RETRIES, answer, died, name_of, raise_error
from embcomp.engines.local import free_cores, set_threads
from embcomp.engines.ray_cluster import check_address, joined, load_ray
from embcomp.errors import EmbcompError, EmbcompWarning

POLL = 5.0  # seconds between two looks at whether the cluster has room


class Worker:
    """What runs on the cluster, in a process of its own.

    Parameters
    ----------
    threads : int
        Of the numeric libraries.
    """

    def __init__(self, threads: int):
        self.threads = threads

    def greet(self, version: str, folder: str) -> str:
        """JSON that is empty, or says why this machine cannot work on files of `folder` with `version` of embcomp."""
        _alone()
        host = socket.gethostname()
        if version != __version__:
            return _refusal(f"{host} has embcomp {__version__}, and this machine {version}: install the same on both")
        try:
            os.chdir(folder)
        except OSError as error:
            reason = error.strerror or error
            return _refusal(
                f"{host}, of the Ray cluster, cannot work in {folder} ({reason}): all machines must see the same files "
                "at the same place"
            )
        return "{}"

    def run(self, name: str, job: str) -> str:
        """The answer to a job, both as JSON; see `embcomp.engines.base.answer`."""
        set_threads(self.threads)
        try:
            return json.dumps(answer(name, json.loads(job)))
        except Exception:
            failed = {"kind": "EmbcompError", "error": str(died("exit code 1")), "traceback": traceback.format_exc()}
            return json.dumps(failed)


def _alone() -> None:
    """Put this process into a session of its own, as those of the local engine are.

    Ctrl-C then reaches the caller alone, and a busy machine gives each worker the time that it gives any other program.
    """
    with contextlib.suppress(OSError):  # no Linux, or it has one already
        if Path("/proc/self/cmdline").read_bytes().startswith(b"ray::"):
            os.setsid()


def _refusal(message: str) -> str:
    return json.dumps({"kind": "EmbcompError", "error": message})


class Engine:
    """Runs jobs on a Ray cluster, several at a time; use it in a ``with`` block.

    Parameters
    ----------
    workers : int
        0 is one per core of the cluster that ``RAY_ADDRESS`` names, or else one per free core of this machine.
    threads : int, default=1
        Threads of each worker's numeric libraries, and cores that Ray keeps for it.
    patience : float, default=900
        Seconds in which the cluster must have room for one worker.

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    ConfigError
        ``RAY_ADDRESS`` names no cluster.
    """

    def __init__(self, workers: int = 0, threads: int = 1, patience: float = PATIENCE):
        self._address = check_address(os.environ.get("RAY_ADDRESS", ""))
        self._ray = load_ray(self._address == "local")
        self._wanted, self.workers = workers, workers
        self.threads, self.patience = threads, patience
        self.needs = (threads, 0)  # cores and GPUs of a worker
        self._pool: list[_Actor] = []
        self._joined = contextlib.ExitStack()

    def __enter__(self) -> Engine:
        self._joined.enter_context(joined(self._ray, self._address, self._wanted, self.threads))
        self.workers = self._wanted or self._room(0)
        return self

    def __exit__(self, *exc: object) -> None:
        self._dismiss()
        self._joined.close()

    def map(
        self, function: Callable[..., Any], jobs: Sequence[dict[str, Any]], gpus: int = 0, processes: int = 1
    ) -> Iterator[tuple[int, Any]]:
        """Run ``function(**job)`` for each job; see `embcomp.engines.local.Engine.map`.

        A job whose worker died, with its machine or alone, is given to another up to twice.

        Parameters
        ----------
        gpus : int, default=0
            GPUs that each job needs for itself. Ray lets it see these alone, as ``cuda:0`` and so on.
        processes : int, default=1
            How many a job starts itself, on the machine of its worker; so many fewer jobs run at a time.
        """
        try:
            yield from self._map(name_of(function), jobs, gpus, processes)
        except BaseException:
            self._dismiss()  # some are in the middle of a job
            raise

    def _map(self, name: str, jobs: Sequence[dict[str, Any]], gpus: int, processes: int) -> Iterator[tuple[int, Any]]:
        # No more than a cluster of one machine has: processes then share its cores.
        cores = min(self.threads * processes, max(self.threads, int(self.resources()[0])))
        if (cores, gpus) != self.needs:
            self._dismiss()  # a worker holds what it was given as long as it lives
            self.needs = (cores, gpus)
        limit = max(1, (self._wanted or self._room(gpus)) // processes)
        waiting, tries, left = list(range(len(jobs)))[::-1], [0] * len(jobs), len(jobs)
        failed_starts, room = 0, _Room(self)
        while left:
            self._pool += [
                _Actor(self._ray, self.threads, *self.needs) for _ in range(min(limit, left) - len(self._pool))
            ]
            # Those that Ray has no room for yet get no job, which another could do.
            for actor in self._pool:
                if actor.free and waiting:
                    actor.start(name, following := waiting.pop(), jobs[following])
            actor = self._next()
            if actor is None:
                room.check(any(one.ready for one in self._pool))
                continue
            number = actor.number
            try:
                given = actor.answer()
            except self._ray.exceptions.RayError as error:
                self._pool.remove(actor)
                actor.stop()
                if number is None:
                    failed_starts += 1
                    limit = max(1, len(self._pool))  # go on with the others
                    if not self._pool and failed_starts > RETRIES:
                        raise EmbcompError(f"workers do not start on the Ray cluster: {_last_line(error)}") from error
                else:
                    tries[number] += 1
                    if tries[number] > RETRIES:
                        raise died() from error
                    waiting.append(number)
                continue
            if "traceback" in given:
                sys.stderr.write(given["traceback"])
            raise_error(given)
            if waiting:
                actor.start(name, following := waiting.pop(), jobs[following])
            if number is not None:
                left -= 1
                yield number, given["result"]

    def _next(self) -> _Actor | None:
        """The next worker that answers; None where none does for a moment."""
        asked = {actor.call: actor for actor in self._pool if actor.call is not None}
        done, _ = self._ray.wait(list(asked), num_returns=1, timeout=min(POLL, self.patience / 4))
        return asked[done[0]] if done else None

    def _room(self, gpus: int) -> int:
        """Workers that the cluster has cores and GPUs for; at least 1."""
        if self._address == "local" and not gpus:
            return max(1, free_cores() // self.threads)
        there = self.resources()
        return max(1, min(int(there[0]) // self.threads, int(there[1]) // gpus if gpus else sys.maxsize))

    def resources(self) -> tuple[float, float]:
        """Cores and GPUs of the cluster, used or not."""
        there = self._ray.cluster_resources()
        return there.get("CPU", 0.0), there.get("GPU", 0.0)

    def _dismiss(self) -> None:
        while self._pool:
            self._pool.pop().stop()


class _Room:
    """Watches whether a cluster has room for a worker."""

    def __init__(self, engine: Engine):
        self.engine, self.since, self.noted = engine, time.monotonic(), False

    def check(self, ready: bool) -> None:
        """Note what the cluster lacks for the first worker, and give up when `patience` is over."""
        if ready:
            self.since = time.monotonic()
            return
        (cores, gpus), (there, there_gpus) = self.engine.needs, self.engine.resources()
        needs = f"a worker needs {cores} cores and {gpus} GPUs, and the cluster has {there:g} and {there_gpus:g}"
        if time.monotonic() - self.since > self.engine.patience:
            raise EmbcompError(
                f"no worker has started on the Ray cluster in {self.engine.patience:g} s: {needs}, or others use them; "
                "finished work is kept, run again to go on"
            )
        if not self.noted and (there < cores or there_gpus < gpus):
            self.noted = True
            warnings.warn(f"waiting for the Ray cluster to grow: {needs}", EmbcompWarning, stacklevel=3)


class _Actor:
    """A worker as the driver sees it.

    Attributes
    ----------
    call : object or None
        What is waited for.
    ready : bool
        Whether it runs.
    number : int or None
        Of its job.
    """

    def __init__(self, ray: ModuleType, threads: int, cores: int, gpus: int):
        self._ray = ray
        self._worker = ray.remote(num_cpus=cores, num_gpus=gpus)(Worker).remote(threads)
        self.call, self.ready, self.number = self._worker.greet.remote(__version__, os.getcwd()), False, None

    @property
    def free(self) -> bool:
        """Whether it can be given a job."""
        return self.ready and self.call is None

    def start(self, name: str, number: int, job: dict[str, Any]) -> None:
        self.number = number
        self.call = self._worker.run.remote(name, json.dumps(job))

    def answer(self) -> dict[str, Any]:
        """What it answered; raises what Ray raises where the worker is dead."""
        given = json.loads(self._ray.get(self.call))
        self.call, self.ready, self.number = None, True, None
        return given

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # it may be dead, or the cluster gone
            self._ray.kill(self._worker)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
