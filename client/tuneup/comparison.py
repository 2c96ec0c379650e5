"""`tuneup comparison`: the choices of a parameter side by side, each at its best configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tuneup.arguments import AsJson, Key, StudyId, Url
from tuneup.client import Client
from tuneup.files import require_writable, write_atomically
from tuneup.output import number, print_json, print_rows, say
from tuneup.shapes import ComparedData, ComparisonData, MeanData
from tuneup.study import Study

FORMATS: Mapping[str, str] = {".md": "md", ".svg": "svg", ".png": "png"}
# What is shown beside the optimized metric, in this order, where it was reported; --json prints all.
SHOWN = (
    "test_accuracy",
    "test_loss",
    "test_mae",
    "examples_per_second",
    "peak_memory",
    "optimizer_memory",
    "steps_to_target",
    "seconds_to_target",
)

Output = Annotated[
    Path | None, typer.Option(help="Write a table or a picture here, as its ending says: .md, .svg or .png.")
]


def comparison(
    study_id: StudyId,
    *,
    by: Annotated[str | None, typer.Option(help="A parameter with choices.", show_default="optimizer")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The choice that ratios are to.", show_default="the first one")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Set the choices of one parameter side by side: means over runs, half of their 95 % intervals, ratios to a baseline."""
    if as_json and output is not None:
        raise typer.BadParameter("--json prints the answer and --output writes it: give one of the two")
    with Client(url, api_key=api_key) as client:
        if output is not None:
            _write(client, study_id, output, by=by, baseline=baseline)
            return
        found = client.get_study(study_id).comparison(by=by, baseline=baseline)
    if as_json:
        print_json(found)
        return
    shown = found["metric"]
    say(f"each {found['by']} at its best by {shown['name']} ({shown['goal']}), ratios to {found['baseline']}")
    columns = _columns(found)
    print_rows((found["by"], "runs", *columns), (_row(row, columns) for row in found["data"]))


def _write(client: Client, study_id: str, output: Path, *, by: str | None, baseline: str | None) -> None:
    ending = output.suffix.lower()
    if ending not in FORMATS:
        raise typer.BadParameter(f"--output {output}: end its name in {', '.join(FORMATS)}")
    require_writable(output)
    study: Study = client.get_study(study_id)
    write_atomically(output, study.comparison_file(FORMATS[ending], by=by, baseline=baseline))
    say(f"wrote {output}")


def _columns(found: ComparisonData) -> tuple[str, ...]:
    present = {name for row in found["data"] for name in row["values"]}
    wanted = dict.fromkeys((found["metric"]["name"], *SHOWN))
    return tuple(name for name in wanted if name in present)


def _row(row: ComparedData, columns: tuple[str, ...]) -> tuple[str, ...]:
    cells = (_cell(row["values"].get(name), row["ratios"].get(name)) for name in columns)
    return (str(row["choice"]), f"{row['completed']}/{row['runs']}", *cells)


def _cell(mean: MeanData | None, ratio: MeanData | None) -> str:
    if mean is None:
        return ""
    reach = "" if mean["high"] is None else f" ± {mean['high'] - mean['mean']:.2g}"
    return number(mean["mean"]) + reach + ("" if ratio is None else f" ({ratio['mean']:.3g}x)")
