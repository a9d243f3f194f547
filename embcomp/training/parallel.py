"""A training step by one process or several: the student on a share of the batch, the loss on all of it.

Every process runs the student on its clips, with batch norm and dropout of the whole batch
(`embcomp.distributed.layers`), gathers what the student gave for the clips of the others, and computes the loss of the
whole batch. So a loss is that of one process whatever it compares, be it a mean over clips that have a label or
distances between all of them, and a transfer method need not know of it. The gradient with respect to a process's own
outputs is complete in each; `DistributedDataParallel` adds up those of the weights.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embcomp.distributed import ALONE, Group, Share
from embcomp.distributed.layers import shared_layers
from embcomp.students.inference import read_logits
from embcomp.students.output import StudentOutput, unless_full
from embcomp.training.examples import Examples, Streamed
from embcomp.transfer import Batch, Transfer

# torch has given the setting another name.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)


class Lessons:
    """A student and a transfer method, from a batch to the terms of its loss.

    Parameters
    ----------
    student : nn.Module
    transfer : Transfer
    amp : bool
        Run the student with autocast to bfloat16.
    group : Group
        The processes that share every batch.
    example : callable
        Gives a batch of two clips, by which is seen what parameters the loss reaches.
    """

    def __init__(self, student: nn.Module, transfer: Transfer, amp: bool, group: Group, example: Callable[[], Batch]):
        self.group = group
        self.module: nn.Module = _Lesson(student, transfer, amp, group)
        if group.world > 1:
            # To look at every step for parameters that the loss does not reach takes an exchange of its own.
            unused = unreached(self.module, example())
            # Of weights with one column there is more than one way to count strides.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            # Buffers are the same everywhere; to send those of the targets would take long.
            self.module = DistributedDataParallel(
                self.module, init_sync=False, find_unused_parameters=bool(unused), **{_SYNC_BUFFERS: False}
            )

    def share(self, whole: int) -> Share | None:
        """This process's share of a batch of `whole` clips; None where it has all of it."""
        return Share.of(whole, self.group) if self.group.world > 1 else None

    @contextlib.contextmanager
    def summed(self, last: bool = True) -> Iterator[None]:
        """A block in which gradients are added up over processes, if it is the `last` of the step."""
        with contextlib.nullcontext() if last or self.group.world == 1 else self.module.no_sync():
            yield

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return self.module(batch)


class _Lesson(nn.Module):
    """What `DistributedDataParallel` wraps: all that is trained, and the way to the loss."""

    def __init__(self, student: nn.Module, transfer: Transfer, amp: bool, group: Group):
        super().__init__()
        self.student, self.transfer, self.amp, self.group = student, transfer, amp, group

    def forward(self, batch: Batch, whole: bool = False) -> dict[str, Tensor]:
        share = Share.of(len(batch.rows), self.group) if self.group.world > 1 and not whole else None
        features, lengths = batch.features, unless_full(batch.lengths, batch.features.shape[-1])
        if share is not None and lengths is not None:
            lengths = lengths[share.own]
        with shared_layers(share), torch.autocast(features.device.type, torch.bfloat16, enabled=self.amp):
            output = self.student(features, lengths)
        if self.group.world > 1:
            # Of an example, too, for the same graph.
            output = GatheredOutput(output, share or Share.of(len(batch.rows), ALONE))
        return self.transfer.loss(output, batch)


def unreached(module: _Lesson, batch: Batch) -> set[str]:
    """Names of the parameters that have no part in the loss of a batch, which changes neither weights nor statistics."""
    kept = {name: tensor.clone() for name, tensor in module.student.state_dict().items()}
    devices = [batch.features.device] if batch.features.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        waiting = [term.grad_fn for term in module(batch, whole=True).values() if term.grad_fn is not None]
    module.student.load_state_dict(kept)
    seen, reached = set(waiting), set()
    while waiting:
        node = waiting.pop()
        reached.add(id(getattr(node, "variable", None)))
        further = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= further
        waiting += further
    return {name for name, one in module.named_parameters() if one.requires_grad and id(one) not in reached}


class GatheredOutput:
    """`StudentOutput` of a whole batch, from that of a share; frames and stages are gathered where they are asked for."""

    def __init__(self, output: StudentOutput, share: Share):
        self._output, self._share = output, share
        self.logits, self.embedding = share.with_gradient(output.logits, output.embedding)

    @functools.cached_property
    def frames(self) -> Tensor:
        """As of `StudentOutput`."""
        return self._share.with_gradient(self._output.frames)[0]

    @functools.cached_property
    def stages(self) -> Sequence[Tensor]:
        """As of `StudentOutput`."""
        return _GatheredStages(self._output.stages, self._share)


class _GatheredStages(Sequence[Tensor]):
    def __init__(self, stages: Sequence[Tensor], share: Share):
        self._stages, self._share = stages, share

    def __len__(self) -> int:
        return len(self._stages)

    def __getitem__(self, number: int) -> Tensor:
        return self._share.with_gradient(self._stages[number])[0]


def shared_logits(student: nn.Module, clips: Examples | Streamed, classes: int, group: Group) -> Tensor:
    """Logits of clips in evaluation mode, each process for its share of them: (n, classes), the same in all of them."""
    lengths = clips.lengths
    if group.world == 1:
        return read_logits(student, lambda rows: clips.at(rows)[0], lengths)
    # Shares of clips of all lengths take equally long.
    rows = torch.argsort(lengths, stable=True)[group.rank :: group.world]
    logits = torch.zeros(len(lengths), classes)
    if len(rows):
        logits[rows.cpu()] = read_logits(student, lambda some: clips.at(rows[some])[0], lengths[rows])
    return group.sum_(logits)


def shared_teacher(teacher: Callable[[np.ndarray], np.ndarray], group: Group) -> Callable[[np.ndarray], np.ndarray]:
    """A teacher that runs at every step, in each process for its share of the clips.

    Parameters
    ----------
    teacher : callable
        Row numbers, int64 (n,), to embeddings (n, d).
    group : Group

    Returns
    -------
    callable
        The same for all rows in all processes.
    """
    if group.world == 1:
        return teacher

    def shared(rows: np.ndarray) -> np.ndarray:
        if len(rows) < group.world:
            return teacher(rows)
        share = Share.of(len(rows), group)
        own = np.asarray(teacher(rows[share.own]), dtype=np.float32)
        return share.gathered(torch.from_numpy(own))[0].numpy()

    return shared
