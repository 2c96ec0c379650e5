"""The `tuneup` command.

Exit codes: 0 completed, 1 error (a study that failed or was cancelled, an unreachable service), 2 bad study or bad
usage, 5 time spent, 130 interrupted; of `verdict` 0 improved, 3 not distinguishable, 4 worse. Results go to standard output, everything else to standard error.
"""

import time
from enum import StrEnum
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, cast

import typer
from typer.core import TyperGroup

from tuneup import analysis, importing, lab, server
from tuneup.arguments import AsJson, Key, StudyId, Url
from tuneup.client import Client
from tuneup.definition import read_definition
from tuneup.durations import parse_duration
from tuneup.errors import BadStudy, TimedOut, TuneupError, UnreadableStudy
from tuneup.output import (
    REPLAY_COLUMNS,
    STUDY_COLUMNS,
    TRIAL_COLUMNS,
    print_best,
    print_error,
    print_json,
    print_pareto,
    print_rows,
    print_study,
    print_verdict,
    replay_row,
    say,
    study_row,
    trial_row,
)
from tuneup.queues import unserved
from tuneup.shapes import TRIAL_STATES
from tuneup.watch import (
    BAD_STUDY,
    ERROR,
    IMPROVED,
    INTERRUPTED,
    TIME_SPENT,
    UNDECIDED,
    WORSE,
    Handover,
    hand_over,
    watch,
)

EXIT_CODES: tuple[tuple[type[TuneupError], int], ...] = (
    (BadStudy, BAD_STUDY),
    (UnreadableStudy, BAD_STUDY),
    (TimedOut, TIME_SPENT),
    (TuneupError, ERROR),
)


ANSWERS = {"improved": IMPROVED, "not distinguishable": UNDECIDED, "worse": WORSE}


class Commands(TyperGroup):
    """The one place where errors become a message and an exit code."""

    def invoke(self, ctx: object) -> object:
        try:
            return super().invoke(cast("typer.Context", ctx))
        except TuneupError as error:
            print_error(error)
            raise typer.Exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind))) from error
        except KeyboardInterrupt as error:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from error


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _assignment(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise typer.BadParameter(f"must be METRIC=VALUE with a number, got {text!r}") from error


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tuneup {version('tuneup')}")
        raise typer.Exit


TrialState = StrEnum("TrialState", {state: state for state in TRIAL_STATES})  # type: ignore[misc]  # built from the one list
Queue = StrEnum("Queue", ["cpu", "gpu"])

Limit = Annotated[int | None, typer.Option(min=1, help="Show at most this many.")]
# The server's programs hold these defaults; here they are only shown.
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="8000")]

app = typer.Typer(
    cls=Commands,
    help="Tune hyperparameters: start a service, hand it studies, read the best configuration.",
    epilog="Exit codes: 0 completed, 1 error, 2 bad study or usage, 5 time spent, 130 interrupted; "
    "of verdict: 0 improved, 3 not distinguishable, 4 worse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(lab.app, name="lab")
analysis.add_to(app)
importing.add_to(app)


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study definition, YAML or JSON.")],
    *,
    as_json: AsJson = False,
    timeout: Annotated[
        float | None, typer.Option(parser=_duration, metavar="DURATION", help="Wait this long: 90s, 30m, 2h.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the best parameters and values here, as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the history here, as SVG.")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Create a study, show its progress, and print the best configuration.

    Ctrl-C and the end of the time leave the study running.
    """
    ends = None if timeout is None else time.monotonic() + timeout
    wanted = Handover(as_json=as_json, output=output, picture=picture)
    wanted.require_writable()
    if output is not None and output.resolve() == study.resolve():
        raise typer.BadParameter(f"--output {output} is the study file itself")
    definition = read_definition(study)
    with Client(url, api_key=api_key) as client:
        wanted.remove_old_output()
        created = client.create_study(definition)
        earlier = "answered before: " if created.data.get("reused") else ""
        say(f"{earlier}study {created.id} ({created.name}) on {client.url}")
        code = watch(created, client=client, ends=ends)
        if code != INTERRUPTED:
            handed = hand_over(created, wanted=wanted)
            code = code or handed
    raise typer.Exit(code)


@app.command()
def status(study_id: StudyId, *, as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Show how far a study is."""
    with Client(url, api_key=api_key) as client:
        study = client.get_study(study_id)
        notice = unserved(client, study) if study.state == "running" and not as_json else None
    if as_json:
        print_json(study.data)
    else:
        print_study(study.data)
    if notice is not None:
        say(notice)


@app.command()
def best(study_id: StudyId, *, as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Show a study's best completed trial."""
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).best()
    if as_json:
        print_json(found)
    else:
        print_best(found)


@app.command()
def pareto(
    study_id: StudyId,
    *,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            parser=_assignment,
            metavar="METRIC=VALUE",
            help="Where the hypervolume ends; one for each.",
            show_default="worst",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Show the best trade-offs of a study that optimizes several metrics."""
    point = dict(cast("list[tuple[str, float]]", reference or []))
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).pareto(reference=point)
    if as_json:
        print_json(found)
    else:
        print_pareto(found)


@app.command()
def verdict(study_id: StudyId, *, as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Say whether a study's best configuration beats the baseline: exit 0 improved, 3 not distinguishable, 4 worse."""
    with Client(url, api_key=api_key) as client:
        found = client.get_study(study_id).verdict()
    if as_json:
        print_json(found)
    else:
        print_verdict(found)
    raise typer.Exit(ANSWERS.get(found["verdict"], ERROR))


@app.command()
def enqueue(
    study_id: StudyId,
    points: Annotated[
        Path, typer.Argument(metavar="POINTS.yaml", help="A list of trials under `trials`, each with its `params`.")
    ],
    *,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Give a study points to try, or finished trials (with `values`) to learn from: all of them or none."""
    body = read_definition(points)
    with Client(url, api_key=api_key) as client:
        added = client.get_study(study_id).add_trials(body.get("trials", []))
    for trial in added:
        say(f"trial {trial['id']} is {trial['state']}")


@app.command()
def trials(
    study_id: StudyId,
    *,
    state: Annotated[TrialState | None, typer.Option(help="Only trials in this state.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """List a study's trials."""
    with Client(url, api_key=api_key) as client:
        found = list(islice(client.get_study(study_id).trials(state=state), limit))
    if as_json:
        print_json({"data": found})
    else:
        print_rows(TRIAL_COLUMNS, map(trial_row, found))


@app.command()
def cancel(study_id: StudyId, *, url: Url = None, api_key: Key = None) -> None:
    """End a study: nothing more is started, and what runs is stopped."""
    with Client(url, api_key=api_key) as client:
        study = client.get_study(study_id).cancel()
    say(f"study {study.id} is {study.state}")


@app.command()
def retry(
    trial_id: Annotated[
        str, typer.Argument(metavar="TRIAL", help="The trial's id: the study's id, a dash, its number.")
    ],
    *,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Run a failed trial again; a study that had ended goes on."""
    with Client(url, api_key=api_key) as client:
        trial = client.get_trial(trial_id).retry()
    say(f"trial {trial.id} is {trial.state}")


@app.command()
def replay(
    what: Annotated[str, typer.Argument(metavar="TRIAL|STUDY", help="A trial's id, or a study's for all its trials.")],
    *,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Derive suggestions again from seed and recorded history; exit with 1 if any differs from what was tried."""
    with Client(url, api_key=api_key) as client:
        ids = [what] if "-" in what else [each["id"] for each in client.get_study(what).trials() if each["params"]]
        found = [client.replay(trial_id) for trial_id in ids]
    if as_json:
        print_json({"data": found})
    else:
        print_rows(REPLAY_COLUMNS, map(replay_row, found))
    differing = sum(each["matches"] is False for each in found)
    if differing:
        say(f"{differing} of {len(found)} do not follow from what is recorded")
        raise typer.Exit(ERROR)


@app.command()
def studies(*, limit: Limit = None, as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """List the studies of a service."""
    with Client(url, api_key=api_key) as client:
        found = [study.data for study in islice(client.studies(), limit)]
    if as_json:
        print_json({"data": found})
    else:
        print_rows(STUDY_COLUMNS, map(study_row, found))


@app.command()
def serve(
    *,
    port: Port = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the database and the logs.", show_default=".tuneup")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes.", show_default="number of cores")
    ] = None,
) -> None:
    """Run everything on this machine: API, database, broker and workers, on loopback and without keys."""
    server.start("serve", port=port, data=data, workers=workers)


@app.command()
def api(
    *,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; beyond loopback only with a key.", show_default="127.0.0.1"),
    ] = None,
    port: Port = None,
) -> None:
    """Run the API server; its database and broker are named by the environment."""
    server.require_key_beyond_loopback(host)
    server.start("api", host=host, port=port)


@app.command()
def worker(
    *,
    queue: Annotated[Queue | None, typer.Option(help="The queue whose trials to run.", show_default="cpu")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of worker processes, on the cpu queue.", show_default="1")
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(metavar="all|0,1,...", help="GPUs to use, one process for each.", show_default="all"),
    ] = None,
) -> None:
    """Run workers that train trials of a queue."""
    server.start("worker", queue=queue, workers=workers, gpus=gpus)


@app.command()
def migrate() -> None:
    """Bring the database to the current schema."""
    server.start("migrate")


def main() -> None:
    app(prog_name="tuneup")
