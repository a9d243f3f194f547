"""One job done by several processes of this machine together, which ends as a whole.

The processes are those of `embcomp.engines.local`: they get JSON, unpickle nothing, and end with the one that started them.
They meet by a file in a folder that only this user can open, so that no port is chosen; see `embcomp.distributed`.
"""

from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embcomp.engines.base import PATIENCE, hung, name_of, raise_error
from embcomp.engines.local import Worker
from embcomp.errors import ProcessLostError

GRACE = 10.0  # seconds that the others have to say something better when one has failed
MEETING = "EMBCOMP_MEETING"  # the variable that names the file


def started_together() -> int:
    """How many processes were started to train together, this one among them, by `run_together` or ``torchrun``."""
    numbers = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
    if not all(map(str.isdecimal, numbers)) or not (os.environ.get(MEETING) or os.environ.get("MASTER_ADDR")):
        return 1
    return max(1, int(numbers[1]))


def own_rank() -> int:
    """Number of this process among them, from 0."""
    return int(os.environ["RANK"]) if started_together() > 1 else 0


def run_together(function: Callable[..., Any], job: dict[str, Any], processes: int) -> Any:
    """Run ``function(**job)`` in every one of several processes, each of which knows the others.

    Parameters
    ----------
    function : callable
        A module-level function, which joins the others with `embcomp.distributed.joined`.
    job : dict
        JSON-able keyword arguments.
    processes : int

    Returns
    -------
    object
        What the first process returned, JSON-able.

    Raises
    ------
    EmbcompError
        A process failed or died. The others are ended; what was finished lies on disk.
    """
    name = name_of(function)
    arrived: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory(prefix="embcomp-") as folder:
        try:
            for rank in range(processes):
                workers.append(Worker(_environment(rank, processes, Path(folder) / "meeting")))
            for rank, worker in enumerate(workers):
                worker.start(name, rank, job, arrived)
            answers: dict[int, dict[str, Any]] = {}
            while len(answers) < processes:
                failed = any("error" in answer for answer in answers.values())
                try:
                    worker = arrived.get(timeout=GRACE)
                except queue.Empty:
                    if failed:
                        break
                    if all(one.idle() > PATIENCE for one in workers if one.busy):
                        raise hung(PATIENCE) from None
                    continue
                answers[worker.number] = worker.answer
            _raise_failure(answers, processes)
            return answers[0]["result"]
        finally:
            for worker in workers:
                worker.stop()


def _environment(rank: int, processes: int, meeting: Path) -> dict[str, str]:
    """What ``torchrun`` would set, but for the port."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    return {name: str(number) for name, number in numbers.items()} | {MEETING: os.fspath(meeting)}


def _raise_failure(answers: dict[int, dict[str, Any]], processes: int) -> None:
    """Raise what went wrong first, if anything did: not that a process has lost another."""
    failed = [number for number, answer in sorted(answers.items()) if "error" in answer]
    if not failed:
        return
    lost = ProcessLostError.__name__
    number = next((one for one in failed if answers[one]["kind"] != lost), failed[0])
    answer = dict(answers[number])
    if answer.get("died"):
        which = f"process {number + 1} of {processes} of the training died"
        answer["error"] = f"{which}: {answer['error']} from the last checkpoint"
    raise_error(answer)
