from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import student_settings, transfer_settings

from embcomp.compression import Compressor
from embcomp.config import TrainingConfig
from embcomp.data.labels import Labels, encode
from embcomp.errors import DataError
from embcomp.students import build_student
from embcomp.students.inference import predict_logits
from embcomp.training.examples import Examples, sampling_weights
from embcomp.training.loop import train
from embcomp.training.optimiser import SmallAdamW
from embcomp.transfer import Transfer, build_transfer

FAST = TrainingConfig(
    steps=40,
    batch_size=16,
    evaluate_every=10,
    checkpoint_every=10,
    learning_rate=5e-3,
    patience=0,
    freq_mask=2,
    roll=0.05,
)


def examples(count=48, seed=0, frames=20) -> Examples:
    """Three classes, each loud in its own third of the bands."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    features = torch.randn(count, 24, frames, generator=generator)
    for row in range(count):
        features[row, 8 * label[row] : 8 * label[row] + 8] += 1.5
    lengths = torch.randint(frames // 2, frames + 1, (count,), generator=generator)
    return Examples(features, lengths, encode([f"c{number}" for number in label.tolist()]))


def new_student(seed=0):
    torch.manual_seed(seed)
    return build_student(student_settings(width=16, embedding=16, norm="clip", dropout=0.1), 3, 24)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_it_learns_and_keeps_the_best_weights():
    student = new_student()
    result = train(student, Transfer(), examples(), examples(seed=1), FAST, seed=0)
    assert result.best_score > 0.8
    assert result.best_score == max(row["validation_score"] for row in result.history)
    held = examples(seed=1)
    predicted = predict_logits(student, held.features, held.lengths).argmax(1).numpy()
    assert np.mean([np.mean(predicted[held.labels.index == c] == c) for c in range(3)]) == pytest.approx(
        result.best_score
    )
    assert {"step", "prediction", "learning_rate", "validation_loss", "validation_score"} <= set(result.history[0])


def test_same_seed_same_weights_and_another_seed_others():
    students = []
    for seed in (0, 0, 1):
        student = new_student()
        train(student, Transfer(), examples(), examples(seed=1), FAST, seed=seed)
        students.append(student)
    assert same(students[0], students[1]) and not same(students[0], students[2])


def test_every_trainable_parameter_moves_of_the_student_and_of_the_method():
    data = examples()
    vectors = np.random.default_rng(0).normal(size=(48, 10)).astype(np.float32)
    start = Compressor(4, method="linear", objective="task", epochs=0).fit(vectors, data.labels.index).to_module()
    transfer = build_transfer(transfer_settings(method="compressed", schedule="joint"), False, start)
    transfer.prepare(vectors, data.labels, 16)
    student = new_student()
    before = {name: tensor.clone() for module in (student, transfer) for name, tensor in module.named_parameters()}
    kept = {}
    original = SmallAdamW.step

    def spy(self, *args, **kwargs):
        kept.update(
            {
                name: tensor.detach().clone()
                for module in (student, transfer)
                for name, tensor in module.named_parameters()
            }
        )
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SmallAdamW, "step", spy)
        train(student, transfer, data, examples(seed=1), FAST, seed=0)
    still = [name for name in before if torch.equal(before[name], kept[name])]
    assert not still


@pytest.mark.parametrize("full", [True, False])
def test_a_mask_is_asked_for_only_where_lengths_differ(full):
    data = examples()
    if full:
        data = Examples(data.features, torch.full_like(data.lengths, data.features.shape[-1]), data.labels)
    student, given = new_student(), []
    student.register_forward_pre_hook(lambda module, inputs: given.append(inputs[1]))
    train(student, Transfer(), data, data, FAST, seed=0)
    assert all((lengths is None) == full for lengths in given)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop_at", [5, 10, 17, 39])
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path, stop_at):
    whole = new_student()
    expected = train(whole, Transfer(), examples(), examples(seed=1), FAST, seed=3)
    seen = [0]

    def stop(steps):
        seen[0] += steps
        if seen[0] == stop_at:
            raise Interrupted

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        train(new_student(), Transfer(), examples(), examples(seed=1), FAST, seed=3, checkpoint=path, progress=stop)
    assert path.exists() == (stop_at > 10)
    resumed = new_student()
    steps = []
    result = train(
        resumed, Transfer(), examples(), examples(seed=1), FAST, seed=3, checkpoint=path, progress=steps.append
    )
    assert same(whole, resumed)
    assert result.history == expected.history
    assert steps[0] == (stop_at - 1) // 10 * 10


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_or_foreign_checkpoint_is_not_used(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    one, other = new_student(), new_student()
    train(one, Transfer(), examples(), examples(seed=1), FAST, seed=0)
    train(other, Transfer(), examples(), examples(seed=1), FAST, seed=0, checkpoint=path)
    assert same(one, other)
    again = new_student()
    train(again, Transfer(), examples(), examples(seed=1), FAST, seed=5, checkpoint=path)
    assert not same(one, again)


def test_a_malicious_checkpoint_runs_no_code(tmp_path):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    path = tmp_path / "checkpoint.pt"
    torch.save({"key": Evil()}, path, pickle_module=pickle)
    train(new_student(), Transfer(), examples(), examples(seed=1), FAST, seed=0, checkpoint=path)
    assert not (tmp_path / "pwned").exists()


def test_patience_stops_early():
    config = TrainingConfig(
        steps=400, batch_size=16, evaluate_every=5, patience=2, learning_rate=5e-3, checkpoint_every=1000
    )
    result = train(new_student(), Transfer(), examples(), examples(seed=1), config, seed=0)
    assert result.history[-1]["step"] < 400
    assert result.history[-1]["step"] - result.best_step == 10


def test_balanced_sampling_draws_every_class_equally():
    labels = encode(["a"] * 90 + ["b"] * 9 + ["c"])
    weights = sampling_weights(labels, True).numpy()
    strata = labels.index
    assert weights.sum() == pytest.approx(1)
    for value in range(3):
        assert weights[strata == value].sum() == pytest.approx(1 / 3)
    assert np.allclose(sampling_weights(labels, False).numpy(), 0.01)


def test_clips_without_a_label_keep_their_share():
    labels = encode(["a", "b", "", "", "", ""])
    weights = sampling_weights(labels, True).numpy()
    assert weights[2:].sum() == pytest.approx(4 / 6)
    assert weights[0] == weights[1] == pytest.approx(1 / 6)


@pytest.mark.parametrize("balanced", [True, False])
def test_labelled_clips_get_at_least_their_share_of_the_draws(balanced):
    labels = encode(["a", "a", "b", *[""] * 7])
    weights = sampling_weights(labels, balanced, labelled=0.5).numpy()
    assert weights.sum() == pytest.approx(1) and weights[:3].sum() == pytest.approx(0.5)
    assert weights[:2].sum() == pytest.approx(0.25 if balanced else 1 / 3)
    assert np.allclose(weights[3:], 0.5 / 7)
    # It is a least share: what has more keeps it, and without unlabelled clips there is nothing to share.
    assert np.array_equal(sampling_weights(labels, balanced, labelled=0.1), sampling_weights(labels, balanced))
    complete = encode(["a", "a", "b"])
    assert np.array_equal(sampling_weights(complete, balanced, labelled=0.5), sampling_weights(complete, balanced))


def test_predictions_do_not_depend_on_batching():
    data = examples()
    student = new_student()
    one = predict_logits(student, data.features, data.lengths, batch_size=1)
    many = predict_logits(student, data.features, data.lengths, batch_size=48)
    torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-5)


def test_validation_without_a_label_is_refused():
    held = examples(seed=1)
    empty = Examples(held.features, held.lengths, Labels(held.labels.classes, np.full_like(held.labels.matrix, np.nan)))
    with pytest.raises(DataError, match="no labelled clip to validate on"):
        train(new_student(), Transfer(), examples(), empty, FAST, seed=0)


def test_a_loss_that_is_not_finite_is_told():
    data = examples()
    data.features[:] = float("nan")
    with pytest.raises(DataError, match="loss is not finite at step 0"):
        train(new_student(), Transfer(), data, examples(seed=1), FAST, seed=0)


@pytest.mark.gpu
def test_it_trains_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    result = train(new_student(), Transfer(), examples(), examples(seed=1), FAST, seed=0, device="cuda")
    assert result.best_score > 0.8


def test_bfloat16_autocast_learns_too():
    config = TrainingConfig(**{**FAST.__dict__, "amp": True})
    assert train(new_student(), Transfer(), examples(), examples(seed=1), config, seed=0).best_score > 0.8
