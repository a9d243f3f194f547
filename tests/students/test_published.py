"""The published students: exactly as large as published, and blind to padding like the default one."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from helpers.outputs import assert_equal_outputs
from helpers.settings import student_settings
from torch import nn

from embcomp.config import AudioConfig
from embcomp.errors import ConfigError
from embcomp.students import (
    DSCNN,
    BCResNet,
    CPResNet,
    InputNorm,
    MobileFCN,
    MobileNetV3,
    StudentOutput,
    TCResNet,
    bc_resnet,
    build_student,
    count_parameters,
    frame_mask,
)
from embcomp.students.classifier import Classifier
from embcomp.students.cp_resnet import Residual
from embcomp.students.mobilenet_v3 import Inverted, divisible
from embcomp.students.pooling import max_pool, pooled_mean

assert_alike = partial(assert_equal_outputs, atol=1e-4, rtol=1e-3)  # many more layers to round in

PUBLISHED = {student.name: student for student in (CPResNet, MobileFCN, TCResNet, BCResNet, MobileNetV3)}
SHRINK = {"cp_resnet": 16, "mobile_fcn": 96, "tc_resnet": 8, "bc_resnet": 1, "mobilenet_v3": 32}  # of frames
WIDTH = {"ds_cnn": 64, "cp_resnet": 512, "mobile_fcn": 256, "tc_resnet": 48, "bc_resnet": 32, "mobilenet_v3": 384}
LENGTHS = torch.tensor([57, 40, 33, 8, 1])


def clips(n_mels=32, frames=57):
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(len(LENGTHS), n_mels, frames, generator=generator) - 8
    return values * frame_mask(LENGTHS, frames).unsqueeze(1)


def student(kind, norm="clip", n_mels=32):
    """A student in evaluation mode whose norms have seen something."""
    torch.manual_seed(0)
    network = PUBLISHED[kind](5, n_mels, norm=norm)
    network.norm.fit(clips(n_mels), LENGTHS)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of what was seen: running ones would take long to forget their start
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(clips(n_mels), LENGTHS)
    return network.eval()


@pytest.mark.parametrize("kind, classes, n_mels, count", [("cp_resnet", 20, 128, 5_534_612), ("mobile_fcn", 50, 96, 314_098)])  # fmt: skip
@pytest.mark.parametrize("norm", InputNorm.KINDS)
def test_the_parameters_are_as_many_as_published_whatever_the_input(kind, classes, n_mels, count, norm):
    settings = student_settings(kind=kind, norm=norm)
    for bands in (n_mels, 40):
        network = build_student(settings, classes, bands)
        assert count_parameters(network) - count_parameters(network.norm) == count


@pytest.mark.parametrize(
    "student, classes, n_mels, options, count",
    [
        (TCResNet, 12, 40, {}, 65_180),  # published: 66 k
        (TCResNet, 12, 40, {"width_multiplier": 1.5}, 144_276),  # 145 k
        (TCResNet, 12, 40, {"deep": True}, 135_868),  # 137 k
        (TCResNet, 12, 40, {"deep": True, "width_multiplier": 1.5}, 303_012),  # 305 k
        (BCResNet, 12, 40, {}, 9_232),  # 9.2 k
        (BCResNet, 12, 40, {"width_multiplier": 3}, 54_168),  # 54.2 k
        (BCResNet, 12, 40, {"width_multiplier": 8}, 321_068),  # 321 k
        (MobileNetV3, 527, 128, {}, 983_599),  # 0.98 M
        (MobileNetV3, 527, 128, {"width_multiplier": 0.1}, 123_783),  # 0.12 M
        (MobileNetV3, 527, 128, {"width_multiplier": 1.0}, 4_876_831),  # 4.88 M
    ],
)
def test_sizes_by_width_are_those_published(student, classes, n_mels, options, count):
    assert count_parameters(student(classes, n_mels, **options)) == count


def test_tc_resnet_halves_the_frames_in_each_stage_and_has_one_band():
    network = TCResNet(12, 40, deep=True).eval()
    shapes = shapes_into(network, nn.Conv2d, torch.zeros(1, 40, 96))
    assert {bands for bands, _ in shapes} == {1}
    assert [len(stage) for stage in network.stages] == [2, 2, 2]
    assert [stage[0].stride for stage in network.stages] == [2, 2, 2] and [stage[1].stride for stage in network.stages] == [1] * 3  # fmt: skip


def test_bc_resnet_keeps_the_frames_and_dilates_each_stage_more():
    network = BCResNet(12, 40).eval()
    shapes = shapes_into(network, bc_resnet.Broadcast, torch.zeros(1, 40, 50))
    assert shapes == [*[(20, 50)] * 2, (20, 50), (10, 50), (10, 50), *[(5, 50)] * 3, *[(5, 50)] * 4]
    assert [stage[0].frames.dilation[1] for stage in network.stages] == [1, 2, 4, 8]
    assert {module.groups for module in network.modules() if isinstance(module, bc_resnet.SubSpectralNorm)} == {5}
    assert network.across.kernel_size == (5, 5)


def test_sub_spectral_norm_is_a_batch_norm_for_each_group_of_bands():
    torch.manual_seed(0)
    norm, x = bc_resnet.SubSpectralNorm(3, 4).train(), torch.randn(5, 3, 8, 7) * 3 + 2
    found = norm(x)
    for group in range(4):
        part = x[:, :, 2 * group : 2 * group + 2]
        variance, mean = torch.var_mean(part, (0, 2, 3), correction=0, keepdim=True)
        torch.testing.assert_close(found[:, :, 2 * group : 2 * group + 2], (part - mean) / (variance + 1e-5).sqrt())


@pytest.mark.parametrize("n_mels, groups", [(40, {5}), (64, {4}), (50, {5, 1}), (23, {4, 3})])
def test_any_number_of_bands_has_the_most_groups_up_to_five_that_divide_it(n_mels, groups):
    network = BCResNet(3, n_mels).eval()
    assert {module.groups for module in network.modules() if isinstance(module, bc_resnet.SubSpectralNorm)} == groups
    assert network(torch.randn(2, n_mels, 20), None).logits.shape == (2, 3)


def test_mobilenet_strides_and_excites_where_published():
    network = MobileNetV3(10, width_multiplier=1.0).eval()
    shapes = shapes_into(network, Inverted, torch.zeros(1, 128, 96))
    assert [bands for bands, _ in shapes] == [64, 64, 32, 32, 16, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4]
    assert [number for number, block in enumerate(network.blocks) if block.excite] == [3, 4, 5, 10, 11, 12, 13, 14]
    assert network.embedding_width == 960
    # Channels are multiples of 8 that do not shrink by more than a tenth.
    assert [divisible(count) for count in (1.6, 12, 13, 17, 36, 100)] == [8, 16, 16, 16, 40, 104]


def test_the_parts_of_cp_resnet_are_those_of_rho_7():
    network = CPResNet(20)
    kernels = [
        [(block.conv1.kernel_size[0], block.conv2.kernel_size[0]) for block in stage] for stage in network.stages
    ]
    assert kernels == [
        [(3, 1), (3, 3), (3, 3), (3, 3)],
        [(3, 1), (1, 3), (1, 3), (1, 3)],
        [(1, 1)] * 4,
    ]
    assert [stage[-1].conv2.out_channels for stage in network.stages] == [128, 256, 512]
    assert not [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d) and module.bias is not None]  # fmt: skip


def shapes_into(network, kind, features):
    """Bands and frames that each module of a kind is given, in the order of the calls."""
    found = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda _, given: found.append(tuple(given[0].shape[2:])))
    with torch.inference_mode():
        network(features, torch.full((len(features),), features.shape[2]))
    return found


def test_cp_resnet_halves_bands_and_frames_after_the_first_second_and_fourth_block():
    shapes = shapes_into(CPResNet(20).eval(), Residual, torch.zeros(1, 128, 64))
    assert shapes == [(64, 32), (32, 16), (16, 8), (16, 8), *[(8, 4)] * 8]


def test_mobile_fcn_pools_and_drops_where_published():
    network = MobileFCN(50).eval()
    assert not any(block.skip for block in network.blocks)
    shapes = shapes_into(network, nn.Conv2d, torch.zeros(1, 96, 192))
    assert shapes[:2] == [(96, 192), (48, 48)]
    assert shapes[2::2] == [(24, 16), (12, 8), (4, 4), (1, 2), (1, 2), (1, 2)]
    assert shapes_into(network, nn.Dropout, torch.zeros(1, 96, 192)) == [(4, 4), (1, 2), ()]


@torch.inference_mode()
def test_ten_seconds_of_openmic_make_about_62_frames_and_29_of_magnatagatune_about_15():
    network = CPResNet(20).eval()
    assert network(torch.zeros(1, 128, 1000), torch.tensor([1000])).frames.shape == (1, 63, 512)
    network = MobileFCN(50).eval()
    assert network(torch.zeros(1, 96, 1440), torch.tensor([1440])).frames.shape == (1, 15, 256)


@pytest.mark.parametrize("norm", InputNorm.KINDS)
@pytest.mark.parametrize("extra", [1, 7, 64])
@pytest.mark.parametrize("kind", PUBLISHED)
@torch.inference_mode()
def test_the_output_does_not_depend_on_how_far_a_batch_is_padded(kind, norm, extra):
    network = student(kind, norm)
    wide = nn.functional.pad(clips(), (0, extra))
    assert_alike(network(wide, LENGTHS), network(clips(), LENGTHS))


@pytest.mark.parametrize("kind", PUBLISHED)
@torch.inference_mode()
def test_the_output_does_not_depend_on_what_the_padding_holds(kind):
    network = student(kind)
    noise = 100 * torch.randn(clips().shape, generator=torch.Generator().manual_seed(1))
    filled = torch.where(frame_mask(LENGTHS, 57).bool().unsqueeze(1), clips(), noise)
    assert_alike(network(filled, LENGTHS), network(clips(), LENGTHS))


@pytest.mark.parametrize("n_mels", [32, 50])
@pytest.mark.parametrize("kind", PUBLISHED)
@torch.inference_mode()
def test_a_batch_of_mixed_lengths_is_its_clips_one_by_one(kind, n_mels):
    network = student(kind, n_mels=n_mels)
    together = network(clips(n_mels), LENGTHS)
    assert together.embedding.std(0).mean() > 1e-2  # clips are told apart, so that equality says something
    for row, length in enumerate(LENGTHS.tolist()):
        alone = network(clips(n_mels)[row : row + 1, :, :length], LENGTHS[row : row + 1])
        assert_alike(StudentOutput(*(part[row : row + 1] for part in together[:3])), alone)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_every_parameter_learns(kind):
    network = student(kind).train()
    output = network(clips(), LENGTHS)
    nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2, 3, 4])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kind", PUBLISHED)
@torch.inference_mode()
def test_the_frames_pool_to_the_embedding_which_is_what_the_classifier_sees(kind):
    network = student(kind)
    output = network(clips(), LENGTHS)
    assert output.embedding.shape == (5, network.embedding_width)
    for row, count in enumerate((-(-LENGTHS // SHRINK[kind])).tolist()):
        assert not output.frames[row, count:].any()
        torch.testing.assert_close(output.frames[row, :count].mean(0), output.embedding[row], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.classify(output.embedding), output.logits)


def staged(kind):
    """A student in evaluation mode but for its stages, which it gives in training alone."""
    network = student(kind) if kind in PUBLISHED else DSCNN(5, 32, width=16, embedding=24).eval()
    network.training = True
    return network


STAGES = {  # channels, and what the frames are divided by
    "ds_cnn": ((16, 4), (32, 8), (32, 8)),
    "cp_resnet": ((128, 16), (256, 16), (512, 16)),
    "mobile_fcn": ((128, 24 * 2), (256, 96), (256, 96)),
    "tc_resnet": ((24, 2), (32, 4), (48, 8)),
    "bc_resnet": ((12, 1), (16, 1), (32, 1)),
    "mobilenet_v3": ((16, 8), (48, 16), (384, 32)),
}


@pytest.mark.parametrize("kind", STAGES)
@torch.inference_mode()
def test_there_are_three_stages_the_last_of_which_are_the_frames(kind):
    output = staged(kind)(clips(), LENGTHS)
    assert [(stage.shape[2], stage.shape[1]) for stage in output.stages] == [
        (channels, -(-57 // shrink)) for channels, shrink in STAGES[kind]
    ]
    assert output.stages[-1] is output.frames


@pytest.mark.parametrize("kind", STAGES)
@torch.inference_mode()
def test_stages_do_not_see_the_padding_and_are_zero_from_the_clips_end_on(kind):
    network = staged(kind)
    together = network(clips(), LENGTHS).stages
    for row, length in enumerate(LENGTHS.tolist()):
        alone = network(clips()[row : row + 1, :, :length], LENGTHS[row : row + 1]).stages
        for stage, expected in zip(together, alone):
            valid = expected.shape[1]
            torch.testing.assert_close(stage[row, :valid], expected[0], atol=1e-4, rtol=1e-3)
            assert expected[0, -1].any() and not stage[row, valid:].any()


@pytest.mark.parametrize("kind", STAGES)
@torch.inference_mode()
def test_stages_cost_nothing_where_nothing_is_learned(kind):
    assert staged(kind).eval()(clips(), LENGTHS).stages == ()


def test_dropout_is_as_set_and_where_the_student_has_it():
    with torch.no_grad():
        network = MobileFCN(5, 32, dropout=0.5)
        network.eval()
        assert torch.equal(network(clips(), LENGTHS).logits, network(clips(), LENGTHS).logits)
        network.train()
        assert not torch.equal(network(clips(), LENGTHS).logits, network(clips(), LENGTHS).logits)
    assert build_student(student_settings(kind="mobile_fcn", dropout=0.25), 5, 32).dropout.p == 0.25


def test_maxima_and_means_do_not_see_the_padding():
    x = torch.arange(1.0, 11).view(1, 1, 2, 5)  # bands 1..5 and 6..10
    mask = torch.tensor([[1.0, 1, 1, 0, 0]]).view(1, 1, 1, 5)
    pooled, shorter = max_pool(x * mask, mask, (2, 2))
    assert pooled.tolist() == [[[[7, 8, 0]]]] and shorter.tolist() == [[[[1, 1, 0]]]]
    mean, frames = pooled_mean(x * mask, mask)
    assert frames.tolist() == [[[3.5], [4.5], [5.5], [0], [0]]] and mean.tolist() == [[4.5]]


@pytest.mark.parametrize("kind", ["ds_cnn", *PUBLISHED])
def test_a_student_has_the_settings_it_uses_and_refuses_others(kind):
    network = build_student(student_settings(kind=kind), 5, 32)
    assert network.embedding_width == WIDTH[kind]
    if kind == "ds_cnn":
        other = build_student(student_settings(kind=kind, width=32, embedding=8), 5, 32)
        assert [a.shape for a in network.parameters()] != [a.shape for a in other.parameters()]
    else:
        with pytest.raises(ConfigError, match=f"the student '{kind}' has no such key; it belongs to: ds_cnn"):
            student_settings(kind=kind, width=32)
    with pytest.raises(ConfigError, match="student.widht: unknown setting"):
        type(network)(5, 32, widht=3)


def test_a_student_saved_with_the_settings_of_all_students_is_read(tmp_path):
    saved = Classifier.new(("a", "b"), AudioConfig(n_mels=32), student_settings(kind="mobile_fcn"), False, 0)
    saved.save(tmp_path / "student")
    file = tmp_path / "student" / "config.json"
    content = json.loads(file.read_text())
    content["student"] |= {"width": 64, "embedding": 64, "dropout": 0.1}  # as versions before 0.2 did
    file.write_text(json.dumps(content))
    assert Classifier.load(tmp_path / "student").student == student_settings(kind="mobile_fcn", dropout=0.1)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_saved_student_comes_back(kind, tmp_path):
    saved = Classifier.new(("a", "b"), AudioConfig(n_mels=32), student_settings(kind=kind), False, 0)
    saved.network.eval()
    saved.save(tmp_path / "student")
    found = Classifier.load(tmp_path / "student")
    with torch.inference_mode():
        expected = saved.network(clips(), LENGTHS)
        assert torch.equal(found.network(clips(), LENGTHS).logits, expected.logits)
