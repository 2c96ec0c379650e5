"""What the command line prints. Text from the service is data: it is never read as markup or terminal control."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuneup.durations import format_duration
from tuneup.errors import TuneupError
from tuneup.shapes import BestData, ParetoData, ReplayData, StudyData, TrialData, VerdictData

TRIAL_COLUMNS = ("number", "state", "values", "params", "reason")
REPLAY_COLUMNS = ("trial", "matches", "params", "derived")
STUDY_COLUMNS = ("id", "name", "state", "finished", "best", "created")


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it stands: no markup, no emoji codes, no guessed highlights."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def printable(value: object) -> str:
    """Return text without control characters: an escape sequence in a study's name must not reach the terminal."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def say(message: str, *, screen: Console | None = None) -> None:
    """Print a line for people to standard error; standard output is for results alone.

    `screen` is the console of a live bar, which has to make room for the line.
    """
    (screen or console(stderr=True)).print(Text(printable(message)))


def print_json(value: object) -> None:
    """Print one JSON value, and nothing else, to standard output."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def print_error(error: TuneupError) -> None:
    """Print an error, and each of its faults on a line of its own with its path."""
    message, *faults = error.lines()
    for line in (f"error: {message}", *faults):
        say(line)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to a terminal, and tab-separated lines with a header elsewhere."""
    screen = console()
    if not screen.is_terminal:
        for row in (columns, *rows):
            typer.echo("\t".join(printable(cell) for cell in row))
        return
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    screen.print(table, soft_wrap=False)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print `name  value` lines, the values under each other."""
    lines = [(printable(name), printable(value)) for name, value in pairs]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        typer.echo(f"{name:<{width}}  {value}")


def number(value: Any) -> str:  # noqa: ANN401  (a parameter or metric value)
    """Write a value for people: floats with five significant digits, all else as it is."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def assignments(values: Mapping[str, Any] | None) -> str:
    """Write `lr=0.01 momentum=0.9`."""
    return " ".join(f"{name}={number(value)}" for name, value in (values or {}).items())


def objectives(study: StudyData) -> list[str]:
    """Name the metrics that are optimized, by the study's definition."""
    metrics = study["definition"].get("metrics") or []
    return [str(metric.get("name", "value")) for metric in metrics if metric.get("role", "optimize") == "optimize"]


def best_so_far(study: StudyData) -> str:
    best, names = study["best"], objectives(study)
    if len(names) > 1:
        return f"best trade-offs of {', '.join(names)} by `tuneup pareto {study['id']}`"
    return (
        f"best {(names or ['value'])[0]} {number(best['value'])} (trial {best['number']})" if best else "no result yet"
    )


def done(study: StudyData) -> str:
    """Write the trials that ended, of how many: `12/40`, or `12` without a budget of trials."""
    progress = study["progress"]
    return str(progress["finished"]) + ("" if progress["budget"] is None else f"/{progress['budget']}")


def short_summary(study: StudyData) -> str:
    """Write how far a study is in few columns: `12/40, best 0.08`."""
    state = "" if study["state"] == "running" else f"{study['state']} "
    return f"{state}{done(study)}" + (f", best {number(study['best']['value'])}" if study["best"] else "")


def summary(study: StudyData) -> str:
    """Write how far a study is, on one line: `12/40 finished, 3 running, 15 allocated, best val_loss 0.08 (trial 7)`."""
    progress = study["progress"]
    state = "" if study["state"] == "running" else f"{study['state']}, "
    return (
        f"{state}{done(study)} finished, {progress['running']} running, "
        f"{progress['allocated']} allocated, {best_so_far(study)}"
    )


def elapsed(study: StudyData, *, now: datetime) -> str:
    """Write the time from a study's first claim to its end, or to `now`; empty before the first claim."""
    if study["started_at"] is None:
        return ""
    end = now if study["finished_at"] is None else datetime.fromisoformat(study["finished_at"])
    # The clocks of this machine and of the service may differ.
    return format_duration(max(0.0, (end - datetime.fromisoformat(study["started_at"])).total_seconds()))


def print_study(study: StudyData) -> None:
    """Print a study's state, a line for each fact that is known."""
    counts = ", ".join(f"{count} {state}" for state, count in study["counts"].items() if count)
    facts = [
        ("study", study["id"]),
        ("name", study["name"]),
        ("state", study["state"]),
        ("reason", study["reason"] or ""),
        ("queue", study["queue"]),
        ("progress", summary(study)),
        ("trials", counts),
        ("elapsed", elapsed(study, now=datetime.now(UTC))),
        ("device time limit", "" if study.get("gpu_seconds") is None else format_duration(study["gpu_seconds"] or 0.0)),
        ("time limit", "" if study["seconds"] is None else format_duration(study["seconds"])),
        ("created", study["created_at"]),
    ]
    print_pairs((name, value) for name, value in facts if value)


def print_best(best: BestData) -> None:
    """Print the best trial: its number, values, and parameters."""
    print_pairs(
        [("trial", str(best["trial"]["number"]))]
        + [(name, number(value)) for name, value in best["values"].items()]
        + [(name, number(value)) for name, value in best["params"].items()]
    )


def print_verdict(found: VerdictData) -> None:
    """Print a verdict: the answer, why, and what was compared."""
    low, high = found["interval"] or (None, None)
    winner, baseline = found["winner"], found["baseline"]
    facts = [
        ("verdict", found["verdict"]),
        ("reason", found["reason"]),
        ("metric", f"{found['metric']}, {found['goal']}"),
        ("difference", "" if found["difference"] is None else number(found["difference"])),
        ("interval", "" if low is None else f"{number(low)} to {number(high)}, each end at {found['confidence']:g}"),
        ("winner", "" if winner is None else f"{number(winner['mean'])} in the mean of {len(winner['values'])} runs"),
        ("", "" if winner is None else assignments(winner["params"])),
        ("baseline", f"{number(baseline['mean'])} in the mean of {len(baseline['values'])} runs"),
        ("", assignments(baseline["params"])),
    ]
    print_pairs((name, value) for name, value in facts if value)


def trial_row(trial: TrialData) -> tuple[str, ...]:
    return (
        str(trial["number"]),
        trial["state"],
        assignments(trial["values"]),
        assignments(trial["params"]),
        trial["reason"] or "",
    )


def replay_row(replay: ReplayData) -> tuple[str, ...]:
    says = {True: "yes", False: "no", None: replay["note"] or ""}[replay["matches"]]
    derived = "" if replay["matches"] else assignments(replay["derived"])
    return replay["id"], says, assignments(replay["params"]), derived


def study_row(study: StudyData) -> tuple[str, ...]:
    return (
        study["id"],
        study["name"],
        study["state"],
        done(study),
        best_so_far(study) if study["best"] else "",
        study["created_at"],
    )


def print_pareto(found: ParetoData) -> None:
    """Print the trials of a front, and to standard error the volume that they dominate."""
    names = [objective["name"] for objective in found["objectives"]]
    rows = [
        (
            str(trial["number"]),
            *(number((trial["values"] or {}).get(name, "")) for name in names),
            assignments(trial["params"]),
        )
        for trial in found["data"]
    ]
    print_rows(("number", *names, "params"), rows)
    if found["hypervolume"] is not None:
        say(f"hypervolume {number(found['hypervolume'])} up to {assignments(found['reference'])}")
