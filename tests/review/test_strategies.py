"""Each strategy against numbers made another way, and against what its definition says must hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import entropy

from embcomp.errors import ConfigError
from embcomp.review.pool import Budget, Pool
from embcomp.review.strategies import STRATEGIES, strategy_named

CLASSES = ("a", "b", "c")


def pool(*probabilities, embeddings=None, known=None, like=None, multi_label=False) -> Pool:
    n = len(probabilities[0]) if probabilities else len(embeddings)
    probabilities = probabilities or (np.full((n, 3), 1 / 3),)
    width = 2 if embeddings is None else embeddings.shape[1]
    empty = np.empty((0, width))
    return Pool(
        CLASSES,
        multi_label,
        probabilities,
        np.zeros((n, width)) if embeddings is None else embeddings,
        empty if known is None else known,
        empty if like is None else like,
        tuple(f"like{number}" for number in range(0 if like is None else len(like))),
    )


def order(strategy, given: Pool, groups=None, per_group=None) -> list[int]:
    budget = Budget(np.arange(len(given.embeddings)) if groups is None else np.asarray(groups), per_group)
    found = []
    for pick in strategy.picks(given, budget):
        budget.take(pick.row)
        found.append(pick)
    assert all(isinstance(pick.why, str) and pick.why for pick in found)
    return [pick.row for pick in found]


@pytest.fixture
def each(rng) -> np.ndarray:
    return rng.dirichlet(np.ones(3), 30)


def test_uncertainty_agrees_with_scipy(each):
    sorted_rows = np.sort(each, axis=1)
    expected = {
        "margin": 1 - (sorted_rows[:, 2] - sorted_rows[:, 1]),
        "entropy": entropy(each, axis=1),
        "least-confident": 1 - each.max(axis=1),
    }
    assert set(expected) == set(strategy_named("uncertainty").measures)
    for measure, scores in expected.items():
        strategy = strategy_named("uncertainty")(measure)
        np.testing.assert_allclose(strategy.scores(pool(each)), scores, atol=1e-12)
        assert order(strategy, pool(each)) == np.argsort(-scores, kind="stable").tolist()


@pytest.mark.parametrize("measure", ["margin", "entropy", "least-confident"])
def test_the_surest_clip_comes_last_and_the_least_sure_first(measure):
    single = np.array([[1.0, 0.0, 0.0], [0.6, 0.3, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    assert order(strategy_named("uncertainty")(measure), pool(single)) == [2, 1, 0]
    several = np.array([[0.99, 0.01, 0.98], [0.9, 0.2, 0.9], [0.5, 0.5, 0.5]])
    assert order(strategy_named("uncertainty")(measure), pool(several, multi_label=True)) == [2, 1, 0]


def test_disagreement_agrees_with_scipy(rng):
    students = [rng.dirichlet(np.ones(3), 20) for _ in range(2)]
    found = strategy_named("disagreement")().scores(pool(*students))
    # scipy gives the square root of the divergence.
    np.testing.assert_allclose(found, jensenshannon(*students, axis=1) ** 2, atol=1e-12)
    votes = np.stack([np.bincount([one[row].argmax() for one in students], minlength=3) for row in range(20)])
    found = strategy_named("disagreement")("votes").scores(pool(*students))
    np.testing.assert_allclose(found, entropy(votes, axis=1), atol=1e-12)


@pytest.mark.parametrize("measure", ["jensen-shannon", "votes"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_students_that_agree_disagree_by_nothing(measure, multi_label, each):
    strategy = strategy_named("disagreement")(measure)
    other = each.copy()
    other[7] = np.roll(each[7], 1) if each[7].max() > 0.5 else np.array([0.9, 0.05, 0.05])
    same = strategy.scores(pool(each, each, each, multi_label=multi_label))
    np.testing.assert_allclose(same, 0, atol=1e-12)
    scores = strategy.scores(pool(each, each, other, multi_label=multi_label))
    assert scores.argmax() == 7 and (np.delete(scores, 7) < 1e-12).all()


def greedy(rows: np.ndarray, known: np.ndarray, count: int) -> list[int]:
    """Farthest first, from the definition: each time all distances anew."""
    chosen: list[int] = []
    for _ in range(count):
        centres = np.concatenate([known, rows[chosen]])
        distances = cdist(rows, centres).min(axis=1)
        distances[chosen] = -1
        chosen.append(int(distances.argmax()))
    return chosen


def test_diversity_is_farthest_first_and_labelled_clips_count_as_chosen(rng):
    rows, known = rng.normal(size=(25, 4)), rng.normal(size=(6, 4))
    given = pool(embeddings=rows, known=known)
    assert order(strategy_named("diversity")(), given) == greedy(rows, known, 25)
    # A labelled clip beside the one that would come first sends it to the end.
    first = greedy(rows, known, 1)[0]
    beside = pool(embeddings=rows, known=np.concatenate([known, rows[first : first + 1] + 1e-6]))
    assert order(strategy_named("diversity")(), beside)[-1] == first


def test_diversity_without_labels_starts_in_the_middle(rng):
    rows = rng.normal(size=(20, 3))
    middle = int(cdist(rows, rows.mean(axis=0)[None])[:, 0].argmin())
    found = order(strategy_named("diversity")(), pool(embeddings=rows))
    assert found == [middle, *greedy(rows, rows[middle : middle + 1], 20)[:19]]


def test_similar_is_the_cosine_to_the_nearest_example(rng):
    rows, like = rng.normal(size=(20, 4)), rng.normal(size=(2, 4))
    rows[3] = 0
    given = pool(embeddings=rows, like=like)
    cosines = np.divide(
        rows @ like.T,
        np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(like, axis=1)),
        out=np.zeros((20, 2)),
        where=np.linalg.norm(rows, axis=1)[:, None] > 0,
    )
    strategy = strategy_named("similar")()
    np.testing.assert_allclose(strategy.scores(given), cosines.max(axis=1), atol=1e-12)
    # Neither the length of an embedding nor that of an example counts.
    longer = pool(embeddings=rows * rng.uniform(1, 9, (20, 1)), like=like * 3)
    np.testing.assert_allclose(strategy.scores(longer), strategy.scores(given), atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)
def test_every_strategy_holds_to_the_budget_of_groups(strategy, rng):
    rows, groups = rng.normal(size=(24, 3)), np.repeat(list("abcd"), 6)
    each = [rng.dirichlet(np.ones(3), 24) for _ in range(3)]
    given = pool(*each, embeddings=rows, known=rows[:0], like=rows[:2])
    free, tight = order(strategy(), given, groups), order(strategy(), given, groups, 2)
    assert sorted(free) == list(range(24))
    assert sorted(groups[tight]) == sorted("aabbccdd")
    assert tight[0] == free[0]


def test_a_wrong_name_or_measure_says_what_there_is():
    with pytest.raises(ConfigError, match="unknown strategy 'uncertain': did you mean 'uncertainty'"):
        strategy_named("uncertain")
    with pytest.raises(ConfigError, match="unknown measure of uncertainty 'margn': did you mean 'margin'"):
        strategy_named("uncertainty")("margn")
    with pytest.raises(ConfigError, match="--measure is not for --by similar"):
        strategy_named("similar")("margin")
