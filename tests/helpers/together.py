"""What several processes run together in tests, and groups that need no second process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from embcomp.distributed import Group, joined
from embcomp.errors import StoreError


class Mirror(Group):
    """As if the other process had the same clips: a sum over both is twice one's own."""

    def __init__(self):
        super().__init__(0, 2)

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor.mul_(2)


class Silent(Group):
    """One of several processes, of which the others add nothing."""

    def sum_(self, tensor: Tensor) -> Tensor:
        return tensor


def trained_alone_or_together(cases: list[dict], out: str) -> None:
    """Train once for each case and write the histories, of each in the first process alone."""
    from helpers.settings import student_settings
    from helpers.transfer_cases import FAST, WIDTH, Examples, TrainingConfig, build_student, examples, prepared, train

    torch.set_num_threads(1)
    histories = []
    with joined() as group:
        for case in cases:
            options = dict(case)
            precise = options.pop("precise", False)
            method, settings = options.pop("method"), options.pop("training", {})
            stop, checkpoint = options.pop("stop", 0), options.pop("checkpoint", None)
            data, held = examples(count=57, unlabelled=9), examples(seed=1)
            torch.manual_seed(0)
            student = build_student(student_settings(width=16, embedding=WIDTH, dropout=0.1), 3, 24)
            if precise:
                student = student.double()
                data, held = (Examples(one.features.double(), one.lengths, one.labels) for one in (data, held))
            config = TrainingConfig(
                **{
                    **FAST.__dict__,
                    "learning_rate": 2e-3,
                    "steps": 50,
                    "batch_size": 15,
                    "evaluate_every": 1,
                    "checkpoint_every": 5,
                    **settings,
                }
            )
            count = [0]

            def progress(done: int, count=count, stop=stop) -> None:
                count[0] += done
                if stop and count[0] >= stop:
                    raise _Stop

            try:
                result = train(
                    student, prepared(method, data, **options), data, held, config,
                    seed=0, checkpoint=checkpoint, progress=progress,
                )  # fmt: skip
            except _Stop:
                group.meet()
                continue
            histories.append(result.history)
        if group.first:
            Path(out).write_text(json.dumps(histories))


class _Stop(Exception):
    pass


def agree_or_not(same: bool) -> None:
    """Ask whether processes agree, where they do not unless `same`."""
    with joined() as group:
        group.check_agreement({"clips": 0 if same else group.rank})


def second_fails() -> None:
    """The second process says what is wrong while the first one waits for it."""
    with joined() as group:
        if not group.first:
            raise StoreError("row 1 is bad")
        group.meet()


def second_dies() -> None:
    """The second process is killed while the first one waits for it."""
    with joined() as group:
        group.meet()
        if not group.first:
            os.kill(os.getpid(), 9)
        while True:
            group.meet()
            time.sleep(0.01)
