"""`tuneup importance`, `history`, `savings` and `comparison`: what a study's finished trials say."""

from enum import StrEnum
from typing import Annotated

import typer

from tuneup.arguments import AsJson, Key, StudyId, Url
from tuneup.client import Client
from tuneup.comparison import comparison
from tuneup.durations import format_duration
from tuneup.output import number, print_json, print_pairs, print_rows, say
from tuneup.shapes import HistoryRow, SavingsData

IMPORTANCE_COLUMNS = ("parameter", "importance", "trials")
HISTORY_COLUMNS = ("number", "state", "value", "best", "finished")

Method = StrEnum("Method", ["ped_anova", "fanova"])
Metric = Annotated[str | None, typer.Option(help="A metric of the study.", show_default="the optimized one")]


def importance(
    study_id: StudyId,
    *,
    method: Annotated[
        Method | None,
        typer.Option(help="What sets the best tenth apart, or what the values vary with.", show_default="ped_anova"),
    ] = None,
    metric: Metric = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Show how much each parameter of a study matters."""
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).importance(method=method, metric=metric)
    if as_json:
        print_json(found)
        return
    shown = found["metric"]
    say(f"{found['method']} of {shown['name']} ({shown['goal']}) over {found['used']} of {found['completed']} trials")
    rows = [(row["parameter"], f"{row['importance']:.3f}", str(row["trials"])) for row in found["data"]]
    print_rows(IMPORTANCE_COLUMNS, rows)


def history(
    study_id: StudyId,
    *,
    metric: Metric = None,
    points: Annotated[int | None, typer.Option(min=2, help="Thin out to so many.", show_default="1000")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """List a study's finished trials in the order of their ends, each with the best so far."""
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).history(metric=metric, points=points)
    if as_json:
        print_json(found)
    else:
        print_rows(HISTORY_COLUMNS, map(_history_row, found["data"]))


def savings(study_id: StudyId, *, as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Show what pruning has saved in a study."""
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).savings()
    if as_json:
        print_json(found)
    else:
        print_pairs(_savings_pairs(found))


def add_to(app: typer.Typer) -> None:
    """Make these commands of `app`."""
    for command in (importance, history, savings, comparison):
        app.command()(command)


def _history_row(row: HistoryRow) -> tuple[str, ...]:
    values = ("" if value is None else number(value) for value in (row["value"], row["best"]))
    return (str(row["number"]), row["state"], *values, row["finished_at"] or "")


def _savings_pairs(found: SavingsData) -> list[tuple[str, str]]:
    steps, seconds, share = found["steps"], found["seconds"], found["share"]
    pairs = [
        ("trials", f"{found['pruned']} of {found['finished']} finished ones were pruned"),
        ("steps", f"{steps['run']} run, {steps['saved']} saved"),
    ]
    if share is not None:
        pairs.append(("share saved", f"{100 * share:.0f} %"))
    if seconds is not None:
        pairs.append(
            ("device time", f"{format_duration(seconds['run'])} used, {format_duration(seconds['saved'])} saved")
        )
    return pairs
