"""Write a model card."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("model", type=common.FOLDER)
@click.option("--scores", type=common.INPUT, help="CSV of embcomp evaluate, for the table of scores.")
@click.option("--license", default="unknown", show_default=True, help="Identifier as the hub has them: mit, cc-by-4.0.")
@click.option("--name", default="", help="What the card calls the model.  [default: its folder or variant]")
@click.option("--push", default="", metavar="OWNER/NAME", help="Upload model and card to this repository of the hub.")
@click.option("--private", is_flag=True, help="With --push: make a repository that does not exist yet private.")
def card(model: Path, scores: Path | None, license: str, name: str, push: str, private: bool) -> None:
    """Write README.md, a model card, into the folder of a student or compressor.

    Of a student within a run the scores and leak guards are those of the run. A
    README.md that embcomp did not write, or that was edited since, is kept.

    \b
    Example:
      embcomp card student --scores scores.csv --license cc-by-4.0
    """
    from embcomp.card.writing import write_card
    from embcomp.evaluation.table import read_scores
    from embcomp.pipeline.cards import evidence_from_run, evidence_of
    from embcomp.storage.hub import push_folder

    evidence = None
    if scores is not None:
        evidence = evidence_of(read_scores(scores), None)
    elif (found := evidence_from_run(model)) is not None:
        evidence, name = found[0], name or found[1]
    click.echo(str(write_card(model, evidence, license, name)))
    if push:
        click.echo(push_folder(model, push, private=private))
