"""A study on the service, as last seen."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, cast
from urllib.parse import quote
from uuid import uuid4

from tuneup.errors import TimedOut, Unreachable
from tuneup.problems import json_object
from tuneup.shapes import (
    FINAL_STATES,
    BestData,
    ComparisonData,
    HistoryData,
    ImportanceData,
    Json,
    ParetoData,
    ProgressData,
    SavingsData,
    StudyData,
    TrialData,
    VerdictData,
)
from tuneup.trial import Trial, ask
from tuneup.wire import Wire

PAGE_SIZE = 200


def study_path(study_id: str) -> str:
    return f"/studies/{quote(study_id, safe='')}"


def _given(**query: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


class Study:
    """One study. Its properties say how it was when last fetched; `refresh` and `wait` fetch it again."""

    def __init__(self, wire: Wire, data: StudyData) -> None:
        self._wire = wire
        self.data = data

    def __repr__(self) -> str:
        return f"<Study {self.id} {self.name!r} {self.state}>"

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def name(self) -> str:
        return self.data["name"]

    @property
    def state(self) -> str:
        return self.data["state"]

    @property
    def progress(self) -> ProgressData:
        return self.data["progress"]

    @property
    def ended(self) -> bool:
        """Whether the study is completed, cancelled or failed."""
        return self.state in FINAL_STATES

    def refresh(self, *, deadline: float | None = None) -> Self:
        """Fetch the study again; `deadline` (time.monotonic) ends the retries early."""
        self.data = cast("StudyData", self._wire.get(study_path(self.id), deadline=deadline))
        return self

    def wait(
        self,
        *,
        timeout: float | None = None,
        poll: float = 1.0,
        on_progress: Callable[["Study"], None] | None = None,
        patience: float = 120.0,
    ) -> Self:
        """Return once the study has ended, in whatever state; a paused one is waited for.

        `timeout`, `poll` (between two looks) and `patience` are seconds. `on_progress` gets the study after each look.
        Raises TimedOut when `timeout` is spent, and Unreachable when the service was gone for `patience`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        last_seen = time.monotonic()
        while True:
            try:
                self.refresh(deadline=deadline)
            except Unreachable:
                # The service may be restarting, and the study outlives that.
                if time.monotonic() - last_seen > patience:
                    raise
            else:
                last_seen = time.monotonic()
                if on_progress is not None:
                    on_progress(self)
                if self.ended:
                    return self
            self._rest(poll, deadline=deadline)

    def _rest(self, poll: float, *, deadline: float | None) -> None:
        remaining = poll if deadline is None else deadline - time.monotonic()
        if remaining <= 0:
            raise TimedOut(f"study {self.id} has not ended in the time given; it goes on running")
        time.sleep(min(poll, remaining))

    def best(self) -> BestData:
        """Return the best completed trial that keeps the constraints; raises NotFound until there is one.

        Raises Conflict where several metrics are optimized: see `pareto`.
        """
        return cast("BestData", self._wire.get(f"{study_path(self.id)}/best"))

    def importance(self, *, method: str | None = None, metric: str | None = None) -> ImportanceData:
        """Say how much each parameter matters, by `ped_anova` (the default) or `fanova`, for the optimized metric or another.

        Raises Conflict until ten trials have completed.
        """
        return cast("ImportanceData", self._read("importance", method=method, metric=metric))

    def history(self, *, metric: str | None = None, points: int | None = None) -> HistoryData:
        """Return the finished trials in the order of their ends, each with the best so far; thinned to `points` (1000)."""
        return cast("HistoryData", self._read("history", metric=metric, points=points))

    def savings(self) -> SavingsData:
        """Return what pruning has saved."""
        return cast("SavingsData", self._read("savings"))

    def comparison(self, *, by: str | None = None, baseline: str | None = None) -> ComparisonData:
        """Set the choices of the parameter `by` (optimizer) side by side, with ratios to one of them, by default the first."""
        return cast("ComparisonData", self._read("comparison", by=by, baseline=baseline))

    def comparison_file(self, file_format: str, *, by: str | None = None, baseline: str | None = None) -> bytes:
        """Return the same as a file: a table in Markdown ("md") or a picture ("svg", "png")."""
        query = _given(by=by, baseline=baseline, format=file_format)
        return self._wire.send("GET", f"{study_path(self.id)}/comparison", params=query).content

    def pareto(self, *, reference: Mapping[str, float] | None = None) -> ParetoData:
        """Return the best trade-offs between the metrics that are optimized.

        The hypervolume is measured from `reference`, a value for each of them; without one from the worst values seen.
        """
        query = {"reference": [f"{name}={value!r}" for name, value in (reference or {}).items()]}
        return cast("ParetoData", self._wire.get(f"{study_path(self.id)}/pareto", params=query))

    def verdict(self) -> VerdictData:
        """Return whether the best configuration beats the baseline.

        Raises Conflict until the study has ended, and NotFound for one whose definition asks for no verdict.
        """
        return cast("VerdictData", self._wire.get(f"{study_path(self.id)}/verdict"))

    def enqueue(self, *points: Mapping[str, Any], idempotency_key: str | None = None) -> list[TrialData]:
        """Queue points, parameters by name, to be tried before others; they count against the budget.

        All are stored or none: raises ApiError with every fault, and Conflict where the budget has no room.
        """
        return self.add_trials([{"params": dict(point)} for point in points], idempotency_key=idempotency_key)

    def add_trials(self, trials: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> list[TrialData]:
        """Add trials: `params`, and of finished ones `values` or `state`, too; those are not run and cost no budget.

        The same `idempotency_key` with the same trials adds them once; without one, a key is drawn for this call.
        """
        body = {"trials": [dict(trial) for trial in trials]}
        key = idempotency_key or str(uuid4())
        response = self._wire.send("POST", f"{study_path(self.id)}/trials", body=body, key=key)
        return cast("list[TrialData]", json_object(response)["data"])

    def trials(self, *, state: str | None = None, since: int | None = None) -> Iterator[TrialData]:
        """Yield the study's trials, page after page; `since` gives those that changed after that `seq`."""
        params = {"limit": str(PAGE_SIZE)}
        if state is not None:
            params["state"] = state
        if since is not None:
            params["since"] = str(since)
        return (cast("TrialData", item) for item in self._wire.pages(f"{study_path(self.id)}/trials", params=params))

    def ask(self, *, count: int = 1, client_id: str | None = None, lease_seconds: float | None = None) -> list[Trial]:
        """Take up to `count` trials to run here; none while there is nothing to do, and none of a study that has ended.

        Who gives a `client_id` gets first what it holds already, as after a restart: no two that run at once may have
        the same. A trial is lost that nothing was heard of for `lease_seconds` (the service's own time if None).
        """
        return ask(self._wire, study_path(self.id), count=count, client_id=client_id, lease_seconds=lease_seconds)

    def ask_each(
        self, *, client_id: str | None = None, lease_seconds: float | None = None, poll: float = 2.0
    ) -> Iterator[Trial]:
        """Yield trials to run here, one after the other, until the study has ended.

        While others run what there is, it looks again every `poll` seconds: one of those may be lost.
        """
        while not self.ended:
            found = self.ask(client_id=client_id, lease_seconds=lease_seconds)
            yield from found
            if not found:
                time.sleep(poll)
            self.refresh()

    def cancel(self) -> Self:
        """End the study: nothing more is started, and what runs is stopped."""
        return self._act("cancel")

    def pause(self) -> Self:
        """Start no more trials; what runs goes on."""
        return self._act("pause")

    def resume(self) -> Self:
        """Start trials again after a pause."""
        return self._act("resume")

    def delete(self) -> None:
        """Delete the study with all its trials."""
        self._wire.send("DELETE", study_path(self.id))

    def picture(self) -> bytes:
        """Return a picture of the study's history, as SVG."""
        return self._wire.send("GET", f"{study_path(self.id)}/history.svg").content

    def _read(self, what: str, **query: str | int | None) -> Json:
        return self._wire.get(f"{study_path(self.id)}/{what}", params=_given(**query))

    def _act(self, verb: str) -> Self:
        response = self._wire.send("POST", f"{study_path(self.id)}:{verb}", key=str(uuid4()))
        self.data = cast("StudyData", json_object(response))
        return self
