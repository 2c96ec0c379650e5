"""Options that several commands have."""

from typing import Annotated

import typer

StudyId = Annotated[str, typer.Argument(metavar="ID", help="The study's id.")]
Url = Annotated[str | None, typer.Option(help="Address of the service (TUNEUP_URL, else http://127.0.0.1:8000).")]
Key = Annotated[str | None, typer.Option("--api-key", help="Key of the service; better set as TUNEUP_API_KEY.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
