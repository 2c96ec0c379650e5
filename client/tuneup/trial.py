"""A trial on the service: one that was asked for and is run here, or one that a person looks after."""

import math
from collections.abc import Mapping
from typing import Protocol, Self, TypeAlias, cast
from urllib.parse import quote
from uuid import uuid4

from tuneup.problems import json_object
from tuneup.shapes import AskData, Json, LeasedTrialData, Params, RenewalData, TrialData, Values
from tuneup.wire import Wire


class OneNumber(Protocol):
    """An array or a tensor of one number, as numpy and torch have them."""

    def item(self) -> float: ...


Number: TypeAlias = float | OneNumber


def trial_path(trial_id: str) -> str:
    return f"/trials/{quote(trial_id, safe='')}"


class Trial:
    """One trial, as last heard of. With a token it is ours to run: report, tell, release.

    Each of its requests is repeated under an Idempotency-Key of its own, also while the service is being restarted, for as
    long as the client is patient. They raise Conflict once the trial is no longer ours, or has ended; nothing is changed
    then. Values are numbers, or arrays and tensors of one.
    """

    def __init__(self, wire: Wire, data: TrialData, *, token: str | None = None) -> None:
        self._wire = wire
        self.data = data
        self.token = token

    def __repr__(self) -> str:
        return f"<Trial {self.id} {self.state}>"

    @property
    def id(self) -> str:
        return self.data["id"]

    @property
    def number(self) -> int:
        return self.data["number"]

    @property
    def state(self) -> str:
        return self.data["state"]

    @property
    def params(self) -> Params:
        return self.data["params"]

    @property
    def values(self) -> Values | None:
        return self.data["values"]

    @property
    def waiting_step(self) -> int | None:
        """The step at which it was told to wait before it was promoted: go on from a checkpoint of it, if there is one."""
        return self.data["waiting_step"]

    @property
    def parent(self) -> str | None:
        """The trial from whose checkpoint it goes on (`why` says between which steps); None: it begins anew."""
        return self.data["parent"]

    def refresh(self) -> Self:
        """Fetch the trial again."""
        self.data = cast("TrialData", self._wire.get(trial_path(self.id)))
        return self

    def report(self, step: int, values: Mapping[str, Number]) -> str | None:
        """Store what was measured at a step. Returns why the trial is to stop, None while it may go on.

        It also renews the lease. A value that is NaN or infinite ends the trial as diverged. After a stop say `tell`,
        whatever the reason: a trial that was pruned or cancelled is recorded so, and one that is to wait for its
        promotion waits, `queued`, until `ask` gives it out again.
        """
        plain = _plain(values)
        strange = [f"{name} is {value} at step {step}" for name, value in plain.items() if not math.isfinite(value)]
        if strange:
            self.tell(state="diverged", reason=strange[0])
            return strange[0]
        return self._measure([{"step": step, "values": plain}])

    def renew(self) -> str | None:
        """Say that the trial is still being run here; returns why it is to stop, or None."""
        return self._measure([])

    def tell(
        self, values: Mapping[str, Number] | None = None, *, state: str = "completed", reason: str | None = None
    ) -> Self:
        """End the trial: completed with `values` (those of its measurements if None), `diverged` or `failed`.

        One that `report` has ended as diverged stays so.
        """
        if self.state == "diverged":
            return self
        given = {"values": None if values is None else _plain(values), "reason": reason}
        return self._act("tell", {"state": state} | {name: value for name, value in given.items() if value is not None})

    def release(self, *, reason: str | None = None) -> Self:
        """Give the trial back, uncharged: somebody else may run it."""
        return self._act("release", {} if reason is None else {"reason": reason})

    def retry(self) -> Self:
        """Queue the trial again after it has failed; a study that had ended goes on."""
        return self._act("retry")

    def cancel(self) -> Self:
        """Take the trial out of its study; while it runs, whoever runs it is told to stop."""
        return self._act("cancel")

    def _measure(self, measurements: list[Json]) -> str | None:
        body = {**self._named(), "measurements": measurements}
        path = f"{trial_path(self.id)}/measurements"
        response = self._wire.send("POST", path, body=body, key=str(uuid4()), patiently=True)
        renewal = cast("RenewalData", json_object(response))
        return (renewal["reason"] or "stopped") if renewal["should_stop"] else None

    def _act(self, verb: str, body: Json | None = None) -> Self:
        named = None if body is None else {**self._named(), **body}
        path = f"{trial_path(self.id)}:{verb}"
        response = self._wire.send("POST", path, body=named, key=str(uuid4()), patiently=True)
        self.data = cast("TrialData", json_object(response))
        return self

    def _named(self) -> Json:
        if self.token is None:
            raise ValueError(f"trial {self.id} was not asked for here; Client.ask gives trials that can be run")
        return {"token": self.token}


def _plain(values: Mapping[str, object]) -> dict[str, float]:
    """Return numbers as JSON has them. Raise TypeError naming what is none."""
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping such as {{'val_loss': 0.3}}, got {values!r}")
    return {name: _number(name, value) for name, value in values.items()}


def _number(name: str, value: object) -> float:
    # What numpy and torch hold a single number in.
    item = getattr(value, "item", None)
    bare = item() if callable(item) else value
    if isinstance(bare, bool) or not isinstance(bare, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return bare


def ask(wire: Wire, study: str, *, count: int, client_id: str | None, lease_seconds: float | None) -> list[Trial]:
    """Take trials of a study (its path) to run here."""
    body: Json = {"count": count, "client_id": client_id, "lease_seconds": lease_seconds}
    given = {name: value for name, value in body.items() if value is not None}
    response = wire.send("POST", f"{study}/trials:ask", body=given, key=str(uuid4()), patiently=True)
    found: list[LeasedTrialData] = cast("AskData", json_object(response))["data"]
    return [Trial(wire, item, token=item["token"]) for item in found]
