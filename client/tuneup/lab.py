"""`tuneup lab`: optimizers on known surfaces, and moving averages, from a service to the terminal or into a picture."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneup.arguments import AsJson, Key, Url
from tuneup.client import Client
from tuneup.files import require_writable, write_atomically
from tuneup.output import number, print_json, print_rows, say

RUN_COLUMNS = ("optimizer", "steps", "lr", "outcome", "value")
CURVE_COLUMNS = ("beta", "window", "first", "last")
FORMATS: Mapping[str, str] = {".svg": "svg", ".png": "png"}

Figure = StrEnum("Figure", ["contours", "evolution"])
Output = Annotated[Path | None, typer.Option(help="Write a picture here, as its ending says: .svg or .png.")]
# The service holds the defaults; what is not given is not sent.
Optimizers = Annotated[
    list[str] | None, typer.Option("-o", "--optimizer", help="Name of an optimizer; may be given several times.")
]
Rate = Annotated[float | None, typer.Option(help="Learning rate of all.", show_default="the best of 21")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps at most.", show_default="2000")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="OPTIMIZER.OPTION:VALUE", help="An option of one optimizer; several times."),
]
Betas = Annotated[
    list[float] | None,
    typer.Option("--beta", help="Weight of the past; may be given several times.", show_default="0.5, 0.9, 0.98"),
]

app = typer.Typer(help="See optimizers on known surfaces, and moving averages.", no_args_is_help=True)


@app.command()
def surface(
    name: Annotated[
        str, typer.Argument(metavar="SURFACE", help="beale, rosenbrock, quadratic, rotated-quadratic, saddle.")
    ],
    *,
    optimizer: Optimizers = None,
    lr: Rate = None,
    steps: Steps = None,
    option: Options = None,
    figure: Annotated[
        Figure | None,
        typer.Option(
            help="The picture that --output writes: paths over contours, or value against step.",
            show_default="contours",
        ),
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Run optimizers on a surface: print the steps each takes, or write a picture."""
    if figure is not None and output is None:
        raise typer.BadParameter("--figure chooses the picture that --output writes: give --output, or leave it out")
    _refuse_two_results(output, as_json=as_json)
    chosen = {"surface": [name], "optimizer": optimizer, "lr": [lr], "steps": [steps], "option": option}
    query = _given({**chosen, "figure": [figure]})
    with Client(url, api_key=api_key) as client:
        if output is None:
            _show(client.lab("surface", query), RUN_COLUMNS, _run_rows, as_json=as_json)
        else:
            _draw(client, "surface", query, output)


@app.command("moving-average")
def moving_average(
    *,
    beta: Betas = None,
    correction: Annotated[bool, typer.Option(help="Whether to take away the bias of the cold start.")] = True,
    output: Output = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Average a noisy signal: print where each average begins and ends, or write a picture."""
    _refuse_two_results(output, as_json=as_json)
    query = _given({"beta": beta, "correction": [str(correction).lower()]})
    with Client(url, api_key=api_key) as client:
        if output is None:
            _show(client.lab("moving-average", query), CURVE_COLUMNS, _curve_rows, as_json=as_json)
        else:
            _draw(client, "moving-average", query, output)


def _refuse_two_results(output: Path | None, *, as_json: bool) -> None:
    if as_json and output is not None:
        raise typer.BadParameter("--json prints the answer and --output writes a picture of it: give one of the two")


def _given(query: Mapping[str, Sequence[Any] | None]) -> dict[str, list[str]]:
    """Return what was given as texts to send."""
    texts = {key: [str(value) for value in values or () if value is not None] for key, values in query.items()}
    return {key: values for key, values in texts.items() if values}


def _show(content: bytes, columns: Sequence[str], rows: Any, *, as_json: bool) -> None:  # noqa: ANN401 - a function
    answer = json.loads(content)
    if as_json:
        print_json(answer)
    else:
        print_rows(columns, rows(answer))


def _run_rows(answer: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            run["optimizer"],
            "" if run["steps"] is None else str(run["steps"]),
            number(run["lr"]),
            run["outcome"],
            number(run["path"]["value"][-1]),
        )
        for run in answer["runs"]
    ]


def _curve_rows(answer: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (number(curve["beta"]), number(curve["window"]), number(curve["values"][0]), number(curve["values"][-1]))
        for curve in answer["curves"]
    ]


def _draw(client: Client, picture: str, query: Mapping[str, list[str]], output: Path) -> None:
    if output.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"--output {output}: end its name in {' or '.join(FORMATS)}")
    require_writable(output)
    write_atomically(output, client.lab(picture, {**query, "format": [FORMATS[output.suffix.lower()]]}))
    say(f"wrote {output}")
