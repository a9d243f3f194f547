"""On a GPU: the losses of a processor, runs and checkpoints that move between both, teachers that fill its memory."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.checkpoints import checkpoint
from helpers.runs import tiny
from helpers.settings import teacher_settings
from helpers.tones import write_tones
from helpers.transfer_cases import FAST, examples, new_student, prepared

from embcomp.config import parse
from embcomp.pipeline import run
from embcomp.students.inference import predict_logits
from embcomp.teachers import open_teacher
from embcomp.teachers.embedding import Fitting, embed_batch
from embcomp.training.loop import train
from embcomp.transfer import METHODS, Transfer

GPU = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """Products of float32 and not of the 19 bits that convolutions take by themselves."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def losses(method, device):
    data, config = examples(unlabelled=8), replace(FAST, steps=20, evaluate_every=1, learning_rate=1e-3)
    result = train(new_student(), prepared(method, data), data, examples(seed=1), config, seed=0, device=device)
    return [[value for name, value in sorted(row.items()) if "loss" in name] for row in result.history]


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_every_loss_of_every_step_is_that_of_a_processor(method):
    np.testing.assert_allclose(losses(method, GPU), losses(method, "cpu"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("first, second", [("cpu", GPU), (GPU, "cpu"), (GPU, GPU)])
def test_a_checkpoint_goes_on_where_it_was_not_made(first, second, tmp_path):
    class Stopped(Exception):
        pass

    def stop(step):
        steps.append(step)
        if len(steps) == 15:
            raise Stopped

    data, validation = examples(), examples(seed=1)
    config = replace(FAST, steps=30, checkpoint_every=10, learning_rate=1e-3)
    whole = new_student()
    train(whole, Transfer(), data, validation, config, seed=0)
    steps, student = [], new_student()
    with pytest.raises(Stopped):
        train(
            student,
            Transfer(),
            data,
            validation,
            config,
            seed=0,
            device=first,
            checkpoint=tmp_path / "c",
            progress=stop,
        )
    student = new_student(seed=3)
    train(student, Transfer(), data, validation, config, seed=0, device=second, checkpoint=tmp_path / "c")
    for one, other in zip(student.cpu().state_dict().values(), whole.state_dict().values()):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_a_student_gives_the_same_logits_there():
    student, data = new_student().eval(), examples()
    here = predict_logits(student, data.features, data.lengths)
    there = predict_logits(copy.deepcopy(student).to(GPU), data.features.to(GPU), data.lengths.to(GPU))
    np.testing.assert_allclose(there.cpu(), here, atol=1e-4)


def test_a_whole_run(tmp_path):
    write_tones(tmp_path / "data/home", groups=4, clips=2, name="home")
    write_tones(tmp_path / "data/abroad", groups=2, clips=2, name="abroad", seed=5, noise=0.1)
    found = {
        device: run(parse(tiny(tmp_path / "data", device=device)), tmp_path / device).scores for device in ("cpu", GPU)
    }
    one, other = found["cpu"], found[GPU]
    assert len(one) == len(other)
    assert (one.value - other.value).abs().mean() < 0.05


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm", "data2vec", "whisper", "ast", "clap"])
def test_a_teacher_gives_the_same_vectors_there(kind, tmp_path):
    pytest.importorskip("transformers")
    folder = checkpoint(tmp_path / kind, kind)
    rng = np.random.default_rng(0)
    lengths = np.array([9000, 5000, 9000, 3000])
    waves = np.where(np.arange(9000) < lengths[:, None], rng.normal(0, 0.1, (4, 9000)), 0).astype(np.float32)
    here, there = (
        open_teacher(teacher_settings(spec=f"hf:{folder}", device=device)).embed(waves, lengths)
        for device in ("cpu", GPU)
    )
    np.testing.assert_allclose(there, here, atol=2e-4)


def test_where_memory_is_short_fewer_clips_are_embedded_at_a_time(tmp_path):
    pytest.importorskip("transformers")
    folder = checkpoint(tmp_path / "wav2vec2", "wav2vec2")
    teacher = open_teacher(teacher_settings(spec=f"hf:{folder}", device=GPU))
    waves = np.random.default_rng(0).normal(0, 0.1, (64, 16_000 * 20)).astype(np.float32)
    lengths, ids = np.full(64, waves.shape[1]), [f"{number}" for number in range(64)]
    expected = np.concatenate([teacher.embed(waves[row : row + 1], lengths[row : row + 1]) for row in range(64)])
    torch.cuda.reset_peak_memory_stats()
    teacher.embed(waves[:8], lengths[:8])
    for_eight, all_of_it = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(3 * for_eight / all_of_it)
    try:
        fitting = Fitting()
        found = embed_batch(teacher, waves, lengths, ids, fitting)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert fitting.clips is not None and 4 <= fitting.clips < 64
    np.testing.assert_allclose(found, expected, atol=2e-4)
