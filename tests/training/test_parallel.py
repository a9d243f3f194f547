"""What a training by several processes, or in several batches a step, is made of; in this process alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.together import Silent
from helpers.transfer_cases import batch_of, examples, new_student, prepared
from torch import nn

from embcomp.config import TrainingConfig
from embcomp.distributed import ALONE, Share
from embcomp.errors import ConfigError
from embcomp.students.inference import predict_logits
from embcomp.students.output import StudentOutput
from embcomp.training.devices import check_processes
from embcomp.training.examples import Examples, steps_of
from embcomp.training.loop import train
from embcomp.training.parallel import GatheredOutput, _Lesson, shared_logits, shared_teacher, unreached
from embcomp.transfer import Transfer

PLAIN = {"equaliser": 0.0, "freq_mask": 0, "time_mask": 0.0, "roll": 0.0, "gain": 0.0}


class Affine(nn.Module):
    """A student without batch norm or dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.classify = nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, features, lengths):
        frames = features.transpose(1, 2)
        embedding = self.embed(frames.mean(1)).tanh()
        return StudentOutput(self.classify(embedding), embedding, frames)


@pytest.mark.parametrize("method", ["none", "regression", "logit_kd", "clip_prototypes"])
def test_batches_that_are_accumulated_are_one_larger_batch_where_the_loss_is_a_mean(method):
    options = {"faithful": True} if method == "clip_prototypes" else {}
    data = examples()
    data = Examples(data.features, torch.full_like(data.lengths, 20), data.labels)  # no padding, which it would see
    histories = []
    for size, accumulate in ((16, 1), (8, 2), (4, 4)):
        config = TrainingConfig(steps=15, batch_size=size, accumulate=accumulate, evaluate_every=5, **PLAIN)
        transfer = prepared(method, data, **options)
        histories.append(train(Affine(), transfer, data, examples(seed=1), config, seed=0).history)
    for other in histories[1:]:
        for one, two in zip(histories[0], other):
            assert one == pytest.approx(two, abs=2e-6)


def test_a_step_of_several_batches_counts_all_their_clips():
    labels = examples(count=48).labels
    assert steps_of(TrainingConfig(epochs=4, batch_size=16), labels) == 12
    assert steps_of(TrainingConfig(epochs=4, batch_size=8, accumulate=2), labels) == 12


def test_how_a_student_is_trained_is_no_part_of_what_it_is():
    plain = TrainingConfig().key()
    assert TrainingConfig(processes=4).key() == plain and "accumulate" not in plain
    assert TrainingConfig(accumulate=2).key() == plain | {"accumulate": 2}


def test_a_share_of_the_drawn_clips_is_as_long_as_the_batch():
    class Told(Silent):
        """Lengths of the others' clips are known from the whole batch."""

        def sum_(self, tensor):
            tensor.copy_(whole_lengths.unsqueeze(1))
            return tensor

    data, weights = examples(), torch.ones(48, dtype=torch.float64)
    rows, whole_lengths, features = data.draw(weights, 9, torch.Generator().manual_seed(0))
    for rank in range(4):
        share = Share.of(9, Told(rank, 4))
        again, lengths, own = data.draw(weights, 9, torch.Generator().manual_seed(0), share)
        assert torch.equal(rows, again) and torch.equal(lengths, whole_lengths)
        assert own.shape == features[share.own].shape
        valid = torch.arange(own.shape[-1]) < lengths[share.own].view(-1, 1, 1)
        assert torch.equal(own * valid, features[share.own] * valid)


def test_what_the_loss_does_not_reach_is_found_and_nothing_moves():
    data = examples()
    student = new_student().train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    transfer = prepared("classifier_reuse", data)
    transfer.spare = nn.Linear(2, 2)
    lesson = _Lesson(student, transfer, False, ALONE)
    torch.manual_seed(5)
    spare = {"transfer.spare.weight", "transfer.spare.bias"}
    assert unreached(lesson, batch_of(data, [0, 1])) == spare | {"student.classify.weight", "student.classify.bias"}
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
    # Logits are gathered with embeddings, so that a gradient, of zeros, comes to the classifier.
    assert unreached(_Lesson(student, transfer, False, Silent(0, 2)), batch_of(data, [0, 1])) == spare
    assert unreached(_Lesson(student, prepared("embedding", data), False, ALONE), batch_of(data, [0, 1])) == set()


def test_frames_and_stages_are_gathered_only_where_they_are_asked_for():
    class Counted(Silent):
        sums = 0

        def sum_(self, tensor):
            Counted.sums += 1
            return tensor

    features, lengths = examples(count=4).features, torch.full((4,), 20)
    share = Share.of(8, Counted(0, 2))
    output = GatheredOutput(new_student().train()(features, lengths), share)
    assert Counted.sums == 1 and output.logits.shape == (8, 3) and output.embedding.shape == (8, 16)
    assert len(output.stages) == 3 and Counted.sums == 1
    assert output.frames.shape[0] == 8 and output.frames is output.frames and Counted.sums == 2
    assert output.stages[0].shape[0] == 8 and Counted.sums == 3


def test_validation_is_shared_by_clips_of_all_lengths():
    student, data = new_student(), examples(count=11)
    whole = predict_logits(student, data.features, data.lengths)
    parts = [shared_logits(student, data, 3, Silent(rank, 3)) for rank in range(3)]
    torch.testing.assert_close(sum(parts), whole)
    assert all((part != 0).any(1).sum() in (3, 4) for part in parts)


def test_a_teacher_in_the_loop_embeds_each_clip_in_one_process():
    asked = []

    def teacher(rows):
        asked.append(rows.tolist())
        return np.stack([rows, rows**2], axis=1).astype(np.float32)

    rows = np.array([4, 7, 9, 2, 5])
    parts = [shared_teacher(teacher, Silent(rank, 2))(rows) for rank in range(2)]
    assert asked == [[4, 7], [9, 2, 5]]
    np.testing.assert_array_equal(sum(parts), teacher(rows))
    assert shared_teacher(teacher, ALONE) is teacher


def test_processes_that_nobody_started_are_refused():
    with pytest.raises(
        ConfigError, match=r"training\.processes is 3, and 1 of them run; `embcomp distill --processes 3`"
    ):
        check_processes(3, ALONE)
    check_processes(1, Silent(0, 2))


def test_fewer_clips_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr("embcomp.training.loop.current", lambda: Silent(0, 5))
    config = TrainingConfig(steps=2, batch_size=4)
    with pytest.raises(ConfigError, match=r"training\.batch_size is 4, too few clips for 5 processes"):
        train(new_student(), Transfer(), examples(), examples(seed=1), config, seed=0)
