"""How often a 95 % interval that resamples groups contains the true value, on simulated groups.

    python benchmarks/interval_coverage.py --sets 1000

Each simulated set has groups of unequal size with their own difficulty, bias towards classes and mix of classes, as
speakers have. The true value is the metric of 20,000 groups. Prints Markdown: for each metric and number of groups
the share of sets whose interval holds it, ours before the plain percentiles of the same replicates.
"""

from __future__ import annotations

import argparse

import numpy as np

from embcomp.metrics import METRICS, Bound, Rows, applicable, bind
from embcomp.metrics.bootstrap import draws, interval

CLASSES = 5
GROUPS = (5, 10, 20, 50)
DIFFERENCE = "difference of balanced_accuracy"


def simulated(seed, groups: int) -> tuple[Rows, Rows]:
    """Predictions of two students on the same clips of `groups` groups; the second is a little better."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(20 * rng.gamma(4, 1 / 4, groups)) + 1
    group = np.repeat(np.arange(groups), sizes)
    mix = rng.dirichlet(np.full(CLASSES, 2.0), groups)[group].cumsum(axis=1)
    truth = (mix < rng.random((len(group), 1))).sum(axis=1).clip(0, CLASSES - 1)
    common = rng.normal(size=(len(group), CLASSES))
    found = []
    for better in (0.0, 0.2):
        skill = rng.normal(2.0 + better, 0.7, groups)[group]
        logits = common + 0.5 * rng.normal(size=common.shape) + rng.normal(0, 0.5, (groups, CLASSES))[group]
        logits[np.arange(len(group)), truth] += skill
        probabilities = np.exp(logits)
        found.append(Rows.of(truth, probabilities / probabilities.sum(axis=1, keepdims=True), CLASSES, group))
    return found[0], found[1]


def names() -> list[str]:
    """The metrics that have an interval."""
    return [name for name in applicable(CLASSES, False) if METRICS[name].scale is not None]


def values(bounds: tuple[Bound, Bound], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of the first student, and the difference of the two, for weights (groups, b)."""
    found = {name: bind(name, bounds[0])(weights) for name in names()}
    other = bind("balanced_accuracy", bounds[1])(weights)
    return found | {DIFFERENCE: other - found["balanced_accuracy"]}


def measure(groups: int, sets: int, truth: dict[str, float], replicates: int = 1000) -> dict[str, tuple[float, float]]:
    """Share of the sets whose interval holds the true value, ours and by percentiles, for each metric of `truth`."""
    held = {name: np.zeros(2) for name in truth}
    for number in range(sets):
        bounds = tuple(Bound(rows) for rows in simulated([groups, number], groups))
        once = values(bounds, np.ones((groups, 1)))
        resampled = values(bounds, draws(groups, replicates, number))
        for name in truth:
            scale, replicate = METRICS[name].scale if name in METRICS else "any", resampled[name]
            low, high = interval(float(once[name][0]), replicate, groups, 0.95, scale)
            plain = np.nanquantile(replicate, [0.025, 0.975])
            held[name] += (low <= truth[name] <= high, plain[0] <= truth[name] <= plain[1])
    return {name: tuple(counts / sets) for name, counts in held.items()}


def true_values(groups: int) -> dict[str, float]:
    """The metrics of very many groups."""
    bounds = tuple(Bound(rows) for rows in simulated(1, groups))
    return {name: float(value[0]) for name, value in values(bounds, np.ones((groups, 1))).items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--groups", type=int, nargs="+", default=GROUPS)
    parser.add_argument(
        "--truth", type=int, default=20_000, help="groups that the true values are of (default: %(default)s)"
    )
    options = parser.parse_args()
    truth = true_values(options.truth)
    columns = [measure(groups, options.sets, truth) for groups in options.groups]
    print("| metric | " + " | ".join(f"{groups} groups" for groups in options.groups) + " |")  # noqa: T201
    print("|---" * (len(columns) + 1) + "|")  # noqa: T201
    for name in truth:
        cells = " | ".join(f"{column[name][0]:.3f} ({column[name][1]:.3f})" for column in columns)
        print(f"| {name} | {cells} |")  # noqa: T201


if __name__ == "__main__":
    main()
