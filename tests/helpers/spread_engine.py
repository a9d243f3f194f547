"""An engine in this process, for tests of work that is spread: jobs in any order, tried twice, or ended in the middle."""

from __future__ import annotations

import contextlib
import json
import random

from embcomp.errors import EmbcompError


class SpreadEngine(contextlib.AbstractContextManager):
    """Runs jobs in an order drawn by `seed`, each through JSON as a worker gets it.

    Parameters
    ----------
    workers : int
    ends_after : int or None
        Answers after which it fails, as where workers die again and again.
    twice : bool
        Whether each job is done a second time, as where the answer to the first try was lost.
    """

    def __init__(self, workers=2, seed=0, ends_after=None, twice=False):
        self.workers, self.ends_after, self.twice = workers, ends_after, twice
        self.random = random.Random(seed)
        self.sizes, self.gpus, self.given = [], [], []

    def __exit__(self, *error):
        return None

    def map(self, function, jobs, gpus=0, processes=1):
        self.gpus.append(gpus)
        self.given.append(len(jobs))
        order = list(range(len(jobs)))
        self.random.shuffle(order)
        for answered, number in enumerate(order):
            if answered == self.ends_after:
                raise EmbcompError("a worker process died")
            job = json.loads(json.dumps(jobs[number]))
            self.sizes += [len(job["clips"])] if "clips" in job else []
            for _ in range(1 + self.twice):
                result = function(**job)
            yield number, json.loads(json.dumps(result))
