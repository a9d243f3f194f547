"""Rows read and multiplied in pieces are the whole, whatever the pieces' size; and the sizes are those promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from embcomp.compression import Compressor, Concatenation, batches, moments, rows, sharded, solvers, spread, spread_rows
from embcomp.compression import store as applying
from embcomp.compression.apply import apply
from embcomp.compression.batches import minibatches, shuffled_stretches
from embcomp.compression.cells import names, refuse_other_order
from embcomp.compression.modules import LinearCompressor, MLPCompressor
from embcomp.compression.moments import Moments
from embcomp.compression.objectives import Bottleneck
from embcomp.compression.rows import as_rows, block_rows
from embcomp.compression.targets import Membership, encode
from embcomp.compression.tree import LEAF, leaves
from embcomp.errors import ArtifactError, ConfigError, DataError

RNG = np.random.default_rng(0)
MANY = RNG.normal(size=(9000, 6)).astype(np.float32)


@pytest.mark.parametrize("build", [LinearCompressor, lambda a, b: MLPCompressor(a, b, 5)], ids=["linear", "mlp"])
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "teachers"])
def test_every_block_of_rows_is_multiplied(build, kind):
    torch.manual_seed(0)
    module = build(6, 3)
    if isinstance(module, MLPCompressor):
        torch.nn.init.normal_(module.out.weight)
    given = {
        "float32": MANY,
        "float64": MANY.astype(np.float64),
        "bfloat16": torch.from_numpy(MANY).bfloat16(),
        "teachers": Concatenation([torch.from_numpy(MANY[:, :2]).bfloat16(), MANY[:, 2:]]),
    }[kind]
    with torch.no_grad():
        expected = module(torch.from_numpy(MANY)).numpy()
    found = apply(module, as_rows(given))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 if kind.startswith("float") else 0.05)


def test_sizes_are_those_that_the_documentation_says():
    assert rows.BLOCK_BYTES == 16 << 20 and batches.FAR == 2 << 30
    assert batches.STRETCH == 32 << 10 and batches.WINDOW == 128 << 20
    assert applying.BATCH == sharded.ALIGNED == 4096 and sharded.WRITTEN == 16 * 4096 and sharded.PAUSE == 0.5
    assert (spread.SHARES, spread.MOST, spread_rows.SHARES, spread_rows.BATCHES) == (4, 64, 4, 8)
    assert (solvers.SAMPLE_ROWS, solvers.PILOT_ROWS, solvers.OVERSAMPLING) == (8192, 4096, 32)
    assert solvers.TOLERANCE == 1e-4 and moments.SMALL == 4e9 and LEAF == 1 << 16


@pytest.mark.parametrize(
    ("dim", "count"), [(0, 4096), (1, 4096), (1024, 4096), (1025, 4092), (4096, 1024), (1 << 18, 16), (1 << 30, 16)]
)
def test_a_block_is_of_at_most_sixteen_megabytes(dim, count):
    assert block_rows(dim) == count and block_rows(dim, limit=100) == min(count, 100)


@pytest.mark.parametrize(("first", "stop", "size"), [(0, None, None), (0, None, 7), (5, 50, 9), (30, 1000, 1000)])
def test_blocks_are_the_rows_in_order(first, stop, size):
    found = list(as_rows(MANY[:100]).blocks(size, first, stop))
    starts = [start for start, _ in found]
    assert starts == list(range(first, min(stop or 100, 100), size or 4096))
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), MANY[first : min(stop or 100, 100)])


def test_rows_of_whole_numbers_and_doubles_are_computed_in_double_precision():
    kinds = {np.int64: np.float64, np.float64: np.float64, np.float32: np.float32, np.float16: np.float32}
    for given, expected in kinds.items():
        assert as_rows(np.ones((2, 2), given)).dtype == as_rows(np.ones((2, 2), given))[:].dtype == expected
    assert as_rows(Concatenation([np.ones((2, 1), np.float32), np.ones((2, 1))])).dtype == np.float64


class Store:
    frames = 1

    def __init__(self, data, ids=None):
        self.data, self.ids = data, ids


def test_a_store_with_several_vectors_a_clip_is_refused():
    store = Store(MANY[:4], list("abcd"))
    assert as_rows(store).shape == (4, 6)
    store.frames = 2
    with pytest.raises(ValueError, match="the store holds 2 vectors per clip; give their mean"):
        as_rows(store)


def test_the_ids_of_several_teachers_are_those_of_any_that_has_some():
    named, other = Store(MANY[:4], list("abcd")), Store(MANY[:4], list("abdc"))
    assert Concatenation([MANY[:4], named, MANY[:4]]).ids == list("abcd") and Concatenation([MANY[:4]]).ids is None
    for parts in ([named, named, other], [MANY[:4], other, named]):
        with pytest.raises(DataError, match="teachers hold different ids"):
            Concatenation(parts)
    whole = Concatenation([MANY[:4, :1], named, MANY[:4, :2]])
    assert whole.shape == (4, 9) and len(whole) == 4 and whole.widths == [1, 6, 2] and whole.weights == [1.0] * 3


@pytest.mark.parametrize("count", [1, 8, 9, 30])
def test_of_bad_rows_eight_are_named(count):
    spoiled = MANY[:5000].copy()
    bad = np.sort(RNG.permutation(5000)[:count])
    spoiled[bad, 3] = np.nan
    listed = ", ".join(str(row) for row in bad[:8]) + (f" and {count - 8} more" if count > 8 else "")
    with pytest.raises(DataError) as error:
        rows.raise_not_finite(as_rows(spoiled))
    assert str(error.value) == f"{count} of 5000 rows hold NaN or infinity (inf): rows {listed}"


def test_rows_are_read_in_stretches_from_two_gigabytes_on(monkeypatch):
    asked = []
    monkeypatch.setattr(batches, "shuffled_stretches", lambda *given: asked.append(given) or iter(()))
    for far, windows in ((4 * 60 * 6, False), (4 * 60 * 6 - 1, True)):
        monkeypatch.setattr(batches, "FAR", far)
        asked.clear()
        found = list(minibatches(MANY[:100], 7, torch.Generator(), np.arange(60)))
        assert bool(asked) == windows == (not found)
    assert asked[0][:3] == (60, 4 * 6, 7)


def test_stretches_and_windows_are_of_one_row_and_one_batch_at_least():
    for row_bytes, stretch in ((1 << 30, 1), (16 << 10, 2), (32 << 10, 1), ((16 << 10) - 1, 2)):
        windows = list(shuffled_stretches(10, row_bytes, 3, torch.Generator().manual_seed(0)))
        numbers = np.concatenate(windows)
        assert sorted(numbers) == list(range(10))
        starts = numbers[::stretch]
        assert (starts % stretch == 0).all() and (starts != np.sort(starts)).any()
    assert [len(one) for one in shuffled_stretches(10, 1 << 30, 3, torch.Generator())] == [3, 3, 3, 1]
    assert [len(one) for one in shuffled_stretches(20, 16 << 20, 3, torch.Generator())] == [6, 6, 6, 2]


def test_products_are_summed_in_double_precision_where_they_are_few(monkeypatch):
    for small, expected in ((100 * 6**2, np.float64), (100 * 6**2 - 1, np.float32)):
        monkeypatch.setattr(moments, "SMALL", small)
        assert moments.summed_in(as_rows(MANY[:100])) == expected


@pytest.mark.parametrize("wrong", [np.ones((99, 2)), np.ones((100, 3)), np.ones(100), None])
def test_moments_by_class_need_the_membership_of_their_rows(wrong):
    message = "need the rows' membership" if wrong is None else rf"shape \({', '.join(map(str, wrong.shape))},?\), exp"
    with pytest.raises(DataError, match=message):
        Moments(6, 2).update(MANY[:100], wrong)
    with pytest.raises(DataError, match="those without take none"):
        Moments(6).update(MANY[:100], np.ones((100, 2)))
    for other in (Moments(5, 2), Moments(6, 1)):
        with pytest.raises(DataError, match=r"cannot merge .* into 6 and 2"):
            Moments(6, 2).merge(other)


@pytest.mark.parametrize("count", [1, LEAF, LEAF + 1, 5 * LEAF - 1])
def test_leaves_hold_so_many_rows(count):
    assert leaves(count) == int(np.ceil(count / LEAF))


@pytest.mark.parametrize(
    ("count", "workers", "size"),
    [(1, 1, 1), (7, 1, 1), (8, 1, 2), (16, 2, 2), (15, 2, 1), (16, 0, 4), (511, 2, 32), (512, 2, 64), (9999, 2, 64)],
)
def test_there_are_four_jobs_for_each_worker_of_at_most_64_leaves(count, workers, size):
    assert spread._size(count, workers) == size


def test_row_numbers_are_packed_where_they_are_neighbours():
    assert spread_rows._packed(np.arange(5, 9)) == {"start": 5, "stop": 9}
    assert spread_rows._packed(np.array([3])) == {"start": 3, "stop": 4}
    assert spread_rows._packed(np.array([5, 7, 8])) == [5, 7, 8]
    np.testing.assert_allclose(spread_rows.means(MANY[:4], 3), MANY[:4].reshape(4, 3, 2).mean(axis=1))
    assert spread_rows.means(MANY, 1) is MANY


def leading(covariance, count):
    """Eigenvectors in columns."""
    return np.linalg.eigh(covariance)[1][:, ::-1][:, :count]


@pytest.mark.parametrize("tolerance", [1e-4, 1e-2, 0.03, 0.5])
def test_a_sample_doubles_until_more_rows_capture_no_more(monkeypatch, tolerance):
    monkeypatch.setattr(solvers, "SAMPLE_ROWS", 50)
    monkeypatch.setattr(solvers, "TOLERANCE", tolerance)
    data = (RNG.normal(size=(1500, 12)) @ RNG.normal(size=(12, 12))).astype(np.float32)
    order, size = np.random.default_rng(4).permutation(1500), 50
    basis = leading(np.cov(data[order[:size]].T), 3)
    while size < 1500:
        fresh = np.cov(data[order[size : 2 * size]].T)
        size = min(2 * size, 1500)
        better = leading(np.cov(data[order[:size]].T), 3)
        gain = np.trace(better.T @ fresh @ better) - np.trace(basis.T @ fresh @ basis)
        if gain <= tolerance * np.trace(better.T @ fresh @ better):
            break
        basis = better
    found = solvers.sample(as_rows(data), None, 3, 4)
    assert found.count == size
    np.testing.assert_allclose(found.scatter / (size - 1), np.cov(data[order[:size]].T), rtol=1e-3, atol=1e-3)


def test_a_sample_has_eight_rows_for_each_component_at_least(monkeypatch):
    monkeypatch.setattr(solvers, "SAMPLE_ROWS", 10)
    monkeypatch.setattr(solvers, "TOLERANCE", 1.0)
    assert solvers.sample(as_rows(MANY[:1000]), None, 5, 0).count == 80  # 40, and as many fresh ones


def test_the_subspace_is_nystroms_from_that_of_a_pilot(monkeypatch):
    monkeypatch.setattr(solvers, "OVERSAMPLING", 2)
    monkeypatch.setattr(solvers, "PILOT_ROWS", 30)
    data = RNG.normal(size=(700, 10)) * np.linspace(3, 0.5, 10) + 5
    found = solvers.subspace(as_rows(data), None, 3, 1)
    pilot = data[np.random.default_rng(1).permutation(700)[:30]]
    Q = leading(np.cov(pilot.T), 5)
    C = np.cov(data.T) * 699
    np.testing.assert_allclose(found.scatter, C @ Q @ np.linalg.inv(Q.T @ C @ Q) @ Q.T @ C, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(found.mean, data.mean(axis=0))
    np.testing.assert_allclose(found.variance, data.var(axis=0, ddof=1))
    assert found.factor.shape == (10, 5) and (found.count, found.mass, found.degrees) == (700, 700.0, 699.0)
    monkeypatch.setattr(solvers, "PILOT_ROWS", 1)  # then twice the width
    pilot = data[np.random.default_rng(1).permutation(700)[:10]]
    Q = leading(np.cov(pilot.T), 5)
    found = solvers.subspace(as_rows(data), None, 3, 1)
    np.testing.assert_allclose(found.scatter, C @ Q @ np.linalg.inv(Q.T @ C @ Q) @ Q.T @ C, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("solver", ["sample", "subspace"])
def test_a_fast_solver_that_sees_everything_is_exact_about_any_point(center, solver):
    exact, fast = (
        Compressor(3, "pca", center=center, solver=one).fit(MANY[:500] * [3, 2, 1, 1, 1, 0.5] + 2)
        for one in ("exact", solver)
    )
    np.testing.assert_allclose(fast.transform(MANY), exact.transform(MANY), atol=1e-3)
    np.testing.assert_allclose(fast.component_variance_, exact.component_variance_, rtol=1e-4)
    np.testing.assert_allclose(fast.retained_variance_, exact.retained_variance_, rtol=1e-4)


def test_sums_by_class_are_not_found_by_the_subspace_and_serve_both_where_every_row_has_one_label():
    labels = np.arange(200) % 3
    for y, same in ((labels, True), (np.where(labels == 2, -1, labels), False), (np.eye(3)[labels], True)):
        membership = Membership(encode(y, 200))
        whole, by_class = solvers.sums(as_rows(MANY[:200]), membership, "exact", 2, 0)
        assert (whole is by_class) == same == membership.one_each() and whole.count == 200
    with pytest.raises(ConfigError, match="solver='subspace' finds no sums by class"):
        solvers.sums(as_rows(MANY[:200]), membership, "subspace", 2, 0)


def test_labels_are_looked_at_in_pieces(monkeypatch):
    monkeypatch.setattr("embcomp.compression.targets.BLOCK", 7)
    for late in (0, 6, 7, 13, 14, 19):
        y = np.arange(20) % 2
        assert Membership(encode(y, 20)).one_each()
        assert not Membership(encode(np.where(np.arange(20) == late, -1, y), 20)).one_each()


class Indexed:
    def __init__(self, *names):
        import pandas as pd

        self.index = pd.Index(names)


@pytest.mark.parametrize("other", ["abc", "abcd", "ab", "aab", "xyz", "abb"])
def test_only_the_same_names_in_another_order_are_mixed_up(other):
    refuse_other_order(Indexed(*"abc"), Indexed(*other), "labels")
    refuse_other_order(Indexed(*"aab"), Indexed(*other), "labels")
    with pytest.raises(DataError, match="the labels name the same rows as the embeddings in another order"):
        refuse_other_order(Indexed(*"abc"), Indexed(*"bca"), "labels")


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 2, 2)])
def test_half_precision_rows_are_a_matrix_too(shape):
    assert as_rows(torch.ones(2, 3).bfloat16()).shape == (2, 3)
    with pytest.raises(ValueError, match=r"2D array|0 sample|dim 3"):
        as_rows(torch.ones(shape).bfloat16())


def test_a_class_with_one_row_is_a_class():
    matrix = np.array([[1.0, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(encode(matrix, 3).values, matrix)
    np.testing.assert_array_equal(encode(1 - matrix, 3).values, 1 - matrix)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13, 65, 130])
def test_sums_that_a_branch_is_part_of_are_found(tmp_path, count):
    """Files of one branch of the tree at a time: of these, its parts are there, and nothing else."""
    sums = object.__new__(spread._Sums)
    sums.folder = tmp_path
    sizes = [size for size in (1, 2, 8, 64, 128) if size < 2 * count]
    branches = [(start, min(start + size, count)) for size in sizes for start in range(0, count, size)]
    picked = RNG.permutation(len(branches))[:12]
    for start, stop in [branches[number] for number in picked]:
        file = tmp_path / f"{start}-{stop}.npz"
        file.touch()
        for first, last in branches:
            assert sums._there(first, last, count) == (start <= first and last <= stop), (start, stop, first, last)
        file.unlink()


def test_ids_on_disk_are_as_many_as_the_rows():
    class OnDisk(list):
        in_blocks = True

    ids = OnDisk("abc")
    assert names(ids, 3) is ids
    with pytest.raises(DataError, match="4 rows of embeddings but 3 ids"):
        names(ids, 4)


def test_bad_rows_outside_the_pilot_are_found_in_the_pass_over_all(monkeypatch):
    monkeypatch.setattr(solvers, "PILOT_ROWS", 20)
    rows = MANY[:500].copy()
    late = np.random.default_rng(0).permutation(500)[100]
    for bad in (np.nan, np.inf):
        rows[late, 2] = bad
        with pytest.raises(DataError, match=rf"1 of 500 rows hold NaN or infinity \(inf\): rows {late}$"):
            solvers.subspace(as_rows(rows), None, 2, 0)


def test_what_is_asked_for_too_early_or_without_rows_is_said():
    found = Compressor(2, "mlp", "reconstruction", hidden=4, epochs=1).fit(MANY[:50])
    with pytest.raises(ArtifactError, match="the decoder is not made yet: fold the encoder first"):
        _ = replace(found.decoders_, module=None).in_use
    with pytest.raises(DataError, match="a head needs targets"):
        Bottleneck(torch.nn.Linear(6, 2), head=torch.nn.Linear(2, 2)).losses(torch.ones(3, 6), None)
