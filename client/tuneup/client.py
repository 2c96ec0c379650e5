"""The service, as seen from Python."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, cast
from uuid import uuid4

import httpx2

from tuneup import environment
from tuneup.definition import Definition, read_definition
from tuneup.problems import CREATION_KINDS, json_object
from tuneup.shapes import ImportedData, Json, ReplayData, StudyData, TrialData, WorkerData
from tuneup.study import PAGE_SIZE, Study, study_path
from tuneup.trial import Trial, ask, trial_path
from tuneup.wire import PATIENCE_SECONDS, RETRIES, Wire


class Client:
    """A connection to one tuneup service.

    `url` and `api_key` come from TUNEUP_URL and TUNEUP_API_KEY where they are not given. `transport` replaces the
    network (an application in this process, a fake); `retries` bounds the repetitions of a request without an answer; those
    of who runs trials go on for `patience` seconds besides, since a restart of the service should cost no training.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        retries: int = RETRIES,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._wire = Wire(
            url=url or environment.service_url(),
            api_key=api_key or environment.api_key(),
            transport=transport,
            retries=retries,
            patience=patience,
        )

    @property
    def url(self) -> str:
        return self._wire.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def create_study(self, definition: Definition, *, idempotency_key: str | None = None) -> Study:
        """Create a study from a mapping, a path, or YAML text, and return it; it is running already.

        The same `idempotency_key` with the same definition gives the same study, however often it is sent; without
        one, a key is drawn, so that the retries of this call create one study.
        Raises UnreadableStudy or BadStudy, with every fault.
        """
        response = self._wire.send(
            "POST",
            "/studies",
            body=read_definition(definition),
            key=idempotency_key or str(uuid4()),
            kinds=CREATION_KINDS,
        )
        return Study(self._wire, cast("StudyData", json_object(response)))

    def import_study(
        self, source: Definition, source_format: str, *, study: Json | None = None, create: bool = False
    ) -> ImportedData:
        """Make a definition of another system's search: a mapping, a path, or YAML text.

        `source_format` is `wandb` for a sweep configuration, `optuna` for distributions by name. Fields of `study` replace
        those found, in `space` parameter by parameter. With `create` the study is created, too.
        Raises UnreadableStudy or BadStudy, with every fault.
        """
        body = {"format": source_format, "source": read_definition(source), "study": study or {}, "create": create}
        sent = self._wire.send("POST", "/studies:import", body=body, key=str(uuid4()), kinds=CREATION_KINDS)
        return cast("ImportedData", json_object(sent))

    def get_study(self, study_id: str) -> Study:
        """Return a study by its id; raises NotFound."""
        return Study(self._wire, cast("StudyData", self._wire.get(study_path(study_id))))

    def studies(self, *, state: str | None = None) -> Iterator[Study]:
        """Yield the service's studies, page after page."""
        params = {"limit": str(PAGE_SIZE)} | ({"state": state} if state else {})
        return (Study(self._wire, cast("StudyData", item)) for item in self._wire.pages("/studies", params=params))

    def ask(
        self, study_id: str, *, count: int = 1, client_id: str | None = None, lease_seconds: float | None = None
    ) -> list[Trial]:
        """Take trials of a study to run here, as `Study.ask` does; raises NotFound."""
        return ask(self._wire, study_path(study_id), count=count, client_id=client_id, lease_seconds=lease_seconds)

    def get_trial(self, trial_id: str, *, token: str | None = None) -> Trial:
        """Return a trial by its id; with the `token` it was given with, one to go on with. Raises NotFound."""
        return Trial(self._wire, cast("TrialData", self._wire.get(trial_path(trial_id))), token=token)

    def replay(self, trial_id: str) -> ReplayData:
        """Have the service derive a trial's point again, from the seed and the recorded history. Raises NotFound."""
        return cast("ReplayData", self._wire.get(f"{trial_path(trial_id)}/replay"))

    def lab(self, name: str, query: Mapping[str, Sequence[str]]) -> bytes:
        """Return what the lab's `surface` or `moving-average` answers: JSON, or a picture where the query wants one."""
        return self._wire.send("GET", f"/lab/{name}", params=query).content

    def workers(self, *, deadline: float | None = None) -> list[WorkerData]:
        """Return the workers that gave a sign of life lately; `deadline` (time.monotonic) ends the retries early."""
        return cast("list[WorkerData]", self._wire.get("/workers", deadline=deadline).get("data", []))
