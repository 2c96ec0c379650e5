"""`tuneup import`: another system's search as a study definition."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from tuneup.arguments import Key, Url
from tuneup.client import Client
from tuneup.definition import read_definition
from tuneup.files import require_writable, write_atomically
from tuneup.output import say
from tuneup.shapes import Json

Format = StrEnum("Format", ["wandb", "optuna"])


def import_file(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="A sweep configuration or distributions, YAML or JSON.")
    ],
    *,
    source_format: Annotated[
        Format, typer.Option("--format", help="wandb: a sweep configuration; optuna: distributions by name.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the definition here: .json as JSON, else as YAML.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Fields that replace those found, as YAML or JSON: objective, budget ...")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the study, too.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Make a study definition of a W&B sweep or of Optuna's distributions; what is not carried over is listed."""
    if output is not None:
        require_writable(output)
        if output.resolve() == source.resolve():
            raise typer.BadParameter(f"--output {output} is the file itself")
    given = read_definition(study) if study is not None else None
    with Client(url, api_key=api_key) as client:
        found = client.import_study(source, source_format, study=given, create=create)
    for note in found["notes"]:
        say(f"{note['path']}: {note['message']}")
    if found["study"] is not None:
        say(f"study {found['study']['id']} ({found['study']['name']}) was created")
    text = _written(found["definition"], as_json=output is not None and output.suffix.lower() == ".json")
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())


def add_to(app: typer.Typer) -> None:
    """Make this a command of `app`."""
    app.command("import")(import_file)


def _written(definition: Json, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=120)
