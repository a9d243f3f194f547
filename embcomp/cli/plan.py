"""Reckon what a run would take."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json

if TYPE_CHECKING:
    from embcomp.pipeline.estimate import Estimate


class Count(click.IntRange):
    """A whole number that may be written with underscores, as 10_000_000."""

    def convert(self, value, parameter, context):
        digits = str(value).replace("_", "").replace(",", "")
        if not digits.removeprefix("-").isdecimal():
            self.fail(f"{value!r} is no whole number; write 10000000 or 10_000_000", parameter, context)
        return super().convert(digits, parameter, context)


@click.command()
@click.argument("config", type=common.INPUT)
@click.option("--clips", required=True, type=Count(64, 10**12), help="Clips of the set trained on.")
@click.option("--seconds", required=True, type=click.FloatRange(0.01, 3600), help="Length of a clip.")
@click.option("--cross", type=Count(0, 10**12), help="Clips of the further sets.  [default: as their manifests have]")
@click.option(
    "--unlabelled", type=Count(0, 10**12), help="Clips of the unlabelled sets.  [default: as their manifests have]"
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 10**6), help="Processes at a time.")
@click.option(
    "--machine", type=common.FILE, help="TOML file with name, price (an hour), speed, cores, memory_gb and disk_gb."
)
@click.option("--price", type=click.FloatRange(0), help="Of an hour of one worker, in place of the machine's.")
@click.option(
    "--calibrate",
    "limit",
    default=30.0,
    show_default=True,
    type=click.FloatRange(1, 3600),
    help="Seconds to measure for; a measurement that has begun is finished.",
)
@click.option(
    "--own-clips", is_flag=True, help="Measure on sounds of the configuration's manifest, not on generated ones."
)
@json_option
@common.set_option
def plan(
    config: Path,
    clips: int,
    seconds: float,
    cross: int | None,
    unlabelled: int | None,
    workers: int,
    machine: Path | None,
    price: float | None,
    limit: float,
    own_clips: bool,
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Reckon time, memory, disk and cost of the run that CONFIG (TOML) describes, without running it.

    Every stage is measured on a few hundred short-lived clips of the same length; what it takes beyond starting
    grows with clips, rows and steps. No manifest need be there yet, unless the number of
    its folds or clips is to be read from it.

    \b
    Example:
      embcomp plan config.toml --clips 10_000_000 --seconds 10 --workers 8 --price 0.4
    """
    from embcomp.config import load
    from embcomp.pipeline.calibration import calibrate, check_plannable, sets_of
    from embcomp.pipeline.estimate import estimate
    from embcomp.pipeline.machine import Machine, read_machine

    settings = load(config, overrides)
    about = Machine() if machine is None else read_machine(machine)
    about = about if price is None else replace(about, price=price)
    check_plannable(settings)
    sets = sets_of(settings, clips, seconds, cross, unlabelled)
    with common.bar(round(limit), "calibrate") as shown:
        trial = calibrate(settings, sets, limit, own_clips, lambda used: shown.update(round(used) - shown.n))
    found = estimate(settings, sets, trial, about, workers)
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(_table(found, about.price > 0), nl=False)


def _table(plan: Estimate, priced: bool) -> str:
    head = ["stage", "jobs", "a unit", "core hours", f"hours, {plan.workers} worker(s)", "memory", "disk", "read"]
    head += ["cost"] if priced else []
    rows = [
        [
            one.about,
            f"{one.jobs:,}",
            f"{1e3 * one.per_unit:.3g} ms/{one.unit}",
            _hours(one.cpu_hours),
            _hours(one.hours),
        ]
        + [_size(one.memory), _size(one.disk), _size(one.read)]
        + ([f"{one.cost:,.2f}"] if priced else [])
        for one in plan.stages
    ]
    total = ["all", "", "", _hours(plan.cpu_hours), _hours(plan.hours), _size(plan.memory), _size(plan.disk)]
    rows.append(total + [_size(sum(one.read for one in plan.stages))] + ([f"{plan.cost:,.2f}"] if priced else []))
    lines = [
        f"{plan.clips:,} clips to train on, {plan.total:,} in all, of {plan.seconds:g} s",
        "",
        *_aligned([head, *rows]),
    ]
    if plan.workers > 1:
        lines += ["", f"with the manifest in {plan.workers} parts, embedded apart: {_hours(plan.in_parts)} hours"]
    if plan.savings:
        saved = [
            [one.change, _size(one.memory) if one.memory else "", _size(one.disk) if one.disk else "", one.how]
            for one in plan.savings
        ]
        lines += ["", *_aligned([["what would save", "memory", "disk", "how"], *saved])]
    lines += ["", "assumed:", *(f"- {note}" for note in plan.assumed)]
    lines += [f"warning: {text}" for text in plan.warnings]
    return "\n".join(lines) + "\n"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _size(count: float) -> str:
    power = min(4, max(1, int(math.log10(max(count, 1)) / 3)))
    count /= 1000**power
    return (f"{count:,.0f}" if count >= 10 else f"{count:.2g}") + f" {'?kMGT'[power]}B"
