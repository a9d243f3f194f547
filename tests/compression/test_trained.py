"""What training moves, what it leaves alone, and that it repeats."""

import numpy as np
import pytest
import torch

from embcomp.compression import Compressor, LinearCompressor, MLPCompressor, training
from embcomp.compression.loop import hold_out
from embcomp.compression.objectives import Bottleneck, prefix_sizes

TRAINED = [
    {"method": "linear", "objective": "task"},
    {"method": "linear", "objective": "both"},
    {"method": "linear", "objective": "task", "start": "pca", "nested": True},
    {"method": "mlp", "objective": "reconstruction"},
    {"method": "mlp", "objective": "task"},
    {"method": "mlp", "objective": "both", "nested": True},
]


@pytest.fixture(scope="module")
def data():
    """A class signal in directions of little variance, under noise in those of much."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    X = rng.normal(size=(400, 16)) * np.r_[np.full(8, 4.0), np.full(8, 0.5)]
    X[:, 8:12] += 1.5 * np.eye(4)[y]
    return X.astype(np.float32), y


@pytest.mark.parametrize("options", TRAINED)
def test_every_parameter_moves(data, monkeypatch, options):
    X, y = data
    starts = {}

    def remember(model, *args, **kwargs):
        starts.update({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
        history = original(model, *args, **kwargs)
        for name, parameter in model.named_parameters():
            moved = (parameter.detach() != starts[name]).float().mean()
            assert moved > 0.5, name
        return history

    original = training.train
    monkeypatch.setattr(training, "train", remember)
    Compressor(**{"n_components": 4, "epochs": 5, "hidden": 8, "validation_share": 0, **options}).fit(X, y)
    assert starts


def test_no_gradient_reaches_the_embeddings_or_a_frozen_module(data):
    X, y = data
    embeddings = torch.from_numpy(X).requires_grad_()
    Compressor(4, epochs=2).fit(embeddings, y)
    assert embeddings.grad is None
    module = Compressor(4, epochs=0).fit(X, y).to_module().requires_grad_(False)
    student = torch.nn.Linear(16, 4)
    (1 - torch.cosine_similarity(student(embeddings.detach()), module(embeddings.detach()))).mean().backward()
    assert module.weight.grad is None
    assert student.weight.grad is not None


def test_the_module_is_a_copy_that_can_be_trained_in_another_loop(data):
    X, y = data
    compressor = Compressor(4, epochs=0).fit(X, y)
    before = compressor.transform(X)
    module, head = compressor.to_module(), torch.nn.Linear(4, 4)
    assert all(parameter.requires_grad for parameter in module.parameters())
    optimizer = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=1e-2)
    loss = torch.nn.functional.cross_entropy(head(module(torch.from_numpy(X))), torch.from_numpy(y))
    loss.backward()
    optimizer.step()
    assert (compressor.transform(X) == before).all()


@pytest.mark.parametrize("options", TRAINED)
def test_same_seed_gives_the_same_bytes(data, tmp_path, options):
    X, y = data
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(name) * seed)
        Compressor(4, **options, epochs=3, hidden=8, random_state=seed).fit(X, y).save(tmp_path / name)
    a, b, c = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_fitting_leaves_the_global_generators_alone(data):
    X, y = data
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    Compressor(4, "mlp", epochs=1, hidden=8).fit(X, y)
    assert (torch.rand(1), np.random.rand()) == expected


def accuracy(codes, y):
    centres = np.stack([codes[y == label].mean(axis=0) for label in np.unique(y)])
    within = np.concatenate([codes[y == label] - codes[y == label].mean(axis=0) for label in np.unique(y)])
    whitener = np.linalg.cholesky(np.linalg.pinv(np.cov(within.T)) + 1e-9 * np.eye(codes.shape[1]))
    distance = (((codes @ whitener)[:, None] - centres @ whitener) ** 2).sum(axis=2)
    return (distance.argmin(axis=1) == y).mean()


def test_the_task_objective_finds_what_pca_drops(data):
    X, y = data
    pca = accuracy(Compressor(3, "pca").fit_transform(X), y)
    task = accuracy(Compressor(3, "linear", "task", start="pca").fit_transform(X, y), y)
    assert pca < 0.45
    assert task > 0.75


def test_both_lies_between_its_parents(data):
    X, y = data
    fits = {name: Compressor(6, "linear", name).fit(X, y) for name in ("reconstruction", "both", "task")}
    kept = {name: fit.retained_variance_[-1] for name, fit in fits.items()}
    assert kept["task"] < kept["both"] <= kept["reconstruction"] + 1e-9


def test_an_mlp_autoencoder_never_ends_above_its_start_on_held_out_rows(data):
    history = Compressor(4, "mlp", "reconstruction", epochs=20, hidden=16).fit(data[0]).history_
    assert min(epoch["validation"] for epoch in history) <= history[0]["validation"]


def test_no_epochs_give_the_closed_form(data):
    X, y = data
    lda = Compressor(6, "lda", wide=True).fit(X, y).transform(X)
    np.testing.assert_allclose(Compressor(6, epochs=0).fit(X, y).transform(X), lda, atol=1e-4)
    pca = Compressor(6, "pca").fit(X).transform(X)
    np.testing.assert_allclose(Compressor(6, epochs=0, start="pca").fit(X, y).transform(X), pca, atol=1e-4)
    np.testing.assert_allclose(Compressor(6, "mlp", epochs=0, start="pca").fit(X, y).transform(X), pca, atol=1e-4)


@pytest.mark.parametrize("method", ["linear", "mlp"])
def test_nested_prefixes_do_the_job(data, method):
    X, y = data
    whole = Compressor(8, method, "both", nested=True, hidden=16, epochs=60).fit(X, y)
    for size in (2, 4, 8):
        part = whole.truncate(size)
        codes = part.transform(X)
        np.testing.assert_allclose(codes, whole.transform(X)[:, :size], atol=1e-4)
        assert part.head_.in_features == part.n_components_ == size
        assert accuracy(codes, y) > (0.5 if size == 2 else 0.7)
        assert part.inverse_transform(codes).shape == X.shape
        np.testing.assert_allclose(whole.inverse_transform(codes), part.inverse_transform(codes))


@pytest.mark.parametrize("method", ["linear", "mlp"])
@pytest.mark.parametrize(("nested", "expected"), [(True, (1, 2, 4, 5)), (False, ())])
def test_only_nested_training_asks_every_prefix(data, method, nested, expected, monkeypatch):
    X, y = data
    asked = []
    own = Bottleneck.losses
    monkeypatch.setattr(Bottleneck, "losses", lambda self, *given: (asked.append(self.sizes), own(self, *given))[1])
    Compressor(5, method, "both", nested=nested, hidden=8, epochs=1).fit(X, y)
    assert set(asked) == {expected}


def test_multilabel_targets_with_unknowns(data):
    X, y = data
    Y = np.eye(4)[y]
    Y[:, 0] = np.maximum(Y[:, 0], y == 3)
    Y[::3, 1] = np.nan
    Y[::7] = np.nan
    compressor = Compressor(4, class_weight="balanced", epochs=30).fit(X, Y)
    with torch.no_grad():
        logits = compressor.head_(torch.from_numpy(compressor.transform(X)))
    known = ~np.isnan(Y)
    assert ((logits.numpy() > 0) == Y)[known].mean() > 0.75


def test_unlabelled_rows_still_shape_the_frame(data):
    X, y = data
    few = np.where(np.arange(400) < 60, y, -1)
    compressor = Compressor(8, "linear", "both", epochs=3).fit(X, few)
    np.testing.assert_allclose(compressor.decoders_.mean, X.mean(axis=0), atol=1e-4)
    assert compressor.n_samples_ == 400
    as_floats = Compressor(8, "linear", "both", epochs=3).fit(X, np.where(few < 0, np.nan, few))
    np.testing.assert_array_equal(as_floats.transform(X), compressor.transform(X))


def test_class_weights_move_the_compressor_towards_the_class(data):
    X, y = data
    plain = Compressor(1, "lda").fit(X, y).transform(X)
    heavy = Compressor(1, "lda", class_weight={2: 50.0}).fit(X, y).transform(X)

    def apart(codes):
        return abs(codes[y == 2].mean() - codes[y != 2].mean()) / codes.std()

    assert apart(heavy) > apart(plain)


def test_the_held_out_share_divides_no_group():
    groups = np.repeat(np.arange(10), 7)
    training, held_out = hold_out(70, 0.3, torch.Generator().manual_seed(0), groups)
    assert sorted([*training, *held_out]) == list(range(70))
    assert set(groups[training]).isdisjoint(groups[held_out])
    assert len(set(groups[held_out])) == 3
    assert len(hold_out(70, 0, torch.Generator())[1]) == 0


@pytest.mark.parametrize("build", [LinearCompressor, lambda a, b: MLPCompressor(a, b, 5)])
def test_gradients_equal_finite_differences(build):
    torch.manual_seed(0)
    encoder, head = build(6, 3).double(), LinearCompressor(3, 2).double()
    if isinstance(encoder, MLPCompressor):
        torch.nn.init.normal_(encoder.out.weight)
    model = Bottleneck(encoder, LinearCompressor(3, 6).double(), head, sizes=prefix_sizes(3))
    rows, targets = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 1, 1, 0, -1])
    parameters = dict(model.named_parameters())

    def loss(*values):
        replaced = dict(zip(parameters, values, strict=True))
        renamed = {f"model.{name}": value for name, value in replaced.items()}
        return torch.func.functional_call(Losses(model), renamed, (rows, targets))

    assert torch.autograd.gradcheck(loss, tuple(parameters.values()))


class Losses(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, rows, targets):
        return self.model.losses(rows, targets)["total"]
