"""Twelve bugs that a checker worth its name must catch: each a mistake that somebody has made somewhere.

A bug replaces a function of the product by one that is wrong in one point. Replacements take what they need from the
module that they are planted in, so that this module imports nothing of the product.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import redis

from tests.faults.patches import Patch

# Long after whoever was answered has killed the process.
_COMMIT_LATE_SECONDS = 5.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_FLAG = "tuneup:cancelled:"


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong, in a line; the functions that are replaced, and what is done to the tables."""

    title: str
    patches: tuple[Patch, ...] = ()
    ddl: tuple[str, ...] = ()


def _no_fence(end: Any, module: Any) -> Any:
    """Like `UPDATE ... WHERE id = ?`: who comes late writes over what stands."""

    def finish(connection: Any, study_id: int, endings: Sequence[Any], **more: Any) -> Any:
        said = end(connection, study_id, endings, **more)
        late = [e for e in endings if e.token in said.stale and e.target in module.FINAL_TRIAL_STATES]
        for ending in late:
            connection.execute(
                module.update(module.Trial)
                .where(module.Trial.study_id == study_id, module.Trial.number == ending.number)
                .values(state=ending.target, values=ending.values, score=ending.score, reason=ending.reason)
            )
        tokens = tuple(ending.token for ending in late)
        stale = tuple(token for token in said.stale if token not in tokens)
        return replace(said, accepted=(*said.accepted, *tokens), stale=stale)

    return finish


def _no_attempt_in_where(end: Any, module: Any) -> Any:
    """Like `UPDATE ... WHERE id = ? AND state = 'running'`: who comes late ends the attempt of another."""

    def finish(connection: Any, study_id: int, endings: Sequence[Any], **more: Any) -> Any:
        lease = module.Lease
        rows = connection.execute(
            module.select(lease.number, lease.attempt, lease.token).where(lease.study_id == study_id)
        )
        held = {row.number: {"attempt": row.attempt, "token": row.token} for row in rows}
        late = [replace(e, **held.get(e.number, {})) for e in endings]
        said = end(connection, study_id, late, **more)
        own = {taken.token: given.token for taken, given in zip(late, endings, strict=True)}
        return module.Verdicts(
            *(tuple(own[token] for token in tokens) for tokens in (said.accepted, said.repeated, said.stale))
        )

    return finish


def _reaper_by_wall_clock(observe: Any, module: Any) -> Any:
    """A worker is dead whose row says, in its own time, that it was seen more than a lease ago in ours."""
    del observe

    def by_wall_clock(self: Any, leases: Sequence[Any]) -> list[Any]:
        rows = self._database.read(lambda connection: module.workers.list_workers(connection, since=_LONG_AGO))
        seen = {row.id: row.seen_at for row in rows}
        self._seen = {row.token: module._Seen(row.beat, 0.0, row.worker) for row in leases}
        now = self._clock()
        return [row for row in leases if (now - seen.get(row.worker, now)).total_seconds() >= self._lease]

    return by_wall_clock


class _CommitsLate:
    """A database whose writes return before their commit."""

    def __init__(self, database: Any) -> None:
        self._engine = database.engine

    def write(self, work: Any) -> Any:
        connection = self._engine.connect().execution_options(tuneup_mode="IMMEDIATE")
        transaction = connection.begin()
        try:
            result = work(connection)
        except BaseException:
            transaction.rollback()
            connection.close()
            raise
        threading.Timer(_COMMIT_LATE_SECONDS, lambda: (transaction.commit(), connection.close())).start()
        return result


def _reply_before_commit(perform: Any, _: Any) -> Any:
    """As if the commit came in what runs after the response."""

    def early(services: Any, *given: Any, **more: Any) -> Any:
        return perform(replace(services, database=_CommitsLate(services.database)), *given, **more)

    return early


def _retry_counts_in_budget(update_study: Any, _: Any) -> Any:
    """The claim counts every attempt it starts where it should count fresh numbers."""

    def update(connection: Any, study: Any, values: Mapping[str, Any]) -> Any:
        started = values["running"] - study.running
        return update_study(connection, study, {**values, "allocated": study.allocated + started})

    return update


def _nudge_before_commit(perform: Any, _: Any) -> Any:
    """The nudge is sent where the work is done, inside its transaction."""

    def nudging(services: Any, request: Any, key: Any, body: Any, work: Any) -> Any:
        def nudged(connection: Any) -> Any:
            reply = work(connection)
            if reply.wake is not None:
                services.doorbell.nudge([reply.wake])
            return replace(reply, wake=None)

        return perform(services, request, key, body, nudged)

    return nudging


def _nan_accepted(pack: Any, _: Any) -> Any:
    """JSON has no NaN, so it is written as text, as some encoders do when they are told to be lenient."""
    del pack

    def lenient(rows: Sequence[object]) -> str:
        return json.dumps(_as_text(rows), allow_nan=False)

    return lenient


def _as_text(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _as_text(inner) for name, inner in value.items()}
    return [_as_text(inner) for inner in value] if isinstance(value, list | tuple) else value


def _token_reused(claimed: Any, _: Any) -> Any:
    """A trial has one token for all its attempts."""

    def same(study_id: int, number: int, *given: Any, **more: Any) -> Any:
        token = hashlib.sha256(f"{study_id}-{number}".encode()).hexdigest()[:32]
        return replace(claimed(study_id, number, *given, **more), token=token)

    return same


def _broker() -> Any:
    return redis.Redis.from_url(os.environ["TUNEUP_BROKER_URL"], decode_responses=True)


def _cancel_in_redis(cancel: Any, module: Any) -> Any:
    """Cancelling leaves word with the broker, and only there."""
    del cancel

    def cancel_study(connection: Any, project_id: int, text: str, *, now: Any) -> Any:
        del now
        study = module._locked(connection, project_id, text)
        _broker().set(f"{_FLAG}{study.id}", "1")
        changed = module._changed(connection, project_id, study.id)
        record = replace(changed.view.record, state=module.StudyState.CANCELLED)
        return replace(changed, view=replace(changed.view, record=record), wake=None)

    return cancel_study


def _claim_asks_redis(candidate: Any, _: Any) -> Any:
    def not_cancelled(connection: Any, *, passed: frozenset[int], **more: Any) -> Any:
        flagged = {int(key.removeprefix(_FLAG)) for key in _broker().scan_iter(f"{_FLAG}*")}
        return candidate(connection, passed=passed | flagged, **more)

    return not_cancelled


def _written_in_place(write: Any, _: Any) -> Any:
    """A checkpoint has its name from its first byte on."""
    del write

    def in_place(path: Any, data: bytes) -> str:
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    return in_place


def _key_outside_transaction(perform: Any, module: Any) -> Any:
    """The key is looked up before the work, and stored after it: three transactions instead of one."""
    table = module.idempotency.IdempotencyKey

    def three_times(services: Any, request: Any, key: Any, body: Any, work: Any) -> Any:
        if key is None:
            return perform(services, request, key, body, work)
        project, fingerprint = services.project_id, module._fingerprint(request, body)
        query = module.idempotency.select(table.status, table.body).where(
            table.project_id == project, table.key == key, table.fingerprint == fingerprint
        )
        stored = services.database.read(lambda connection: connection.execute(query).one_or_none())
        if stored is not None:
            return perform(services, request, key, body, work)
        reply = services.database.write(work)
        return perform(services, request, key, body, lambda _: reply)

    return three_times


BUGS: Mapping[str, Bug] = {
    "no_fence": Bug("a finish is written by number alone", (Patch("models.endings:end", _no_fence),)),
    "no_attempt_in_where": Bug(
        "a finish asks whether the trial runs, not who runs it", (Patch("models.endings:end", _no_attempt_in_where),)
    ),
    "reaper_by_wall_clock": Bug(
        "the reaper compares the clocks of two machines",
        (Patch("workers.reaper:Reaper._observe", _reaper_by_wall_clock),),
    ),
    "reply_before_commit": Bug(
        "the reply leaves before the commit", (Patch("api.idempotency:perform", _reply_before_commit),)
    ),
    # Whoever inserts "where there is no such key yet" relies on the key being one.
    "missing_unique_index": Bug(
        "idempotency keys are not unique",
        ddl=(
            "CREATE TABLE keys_without_a_key AS SELECT * FROM idempotency_key",
            "DROP TABLE idempotency_key",
            "ALTER TABLE keys_without_a_key RENAME TO idempotency_key",
        ),
    ),
    "retry_counts_in_budget": Bug(
        "another attempt is counted as another trial", (Patch("models.claims:update_study", _retry_counts_in_budget),)
    ),
    "nudge_before_commit": Bug(
        "the nudge leaves inside the transaction", (Patch("api.idempotency:perform", _nudge_before_commit),)
    ),
    "nan_accepted": Bug("numbers that are none are stored as text", (Patch("models.rowsets:pack", _nan_accepted),)),
    "token_reused": Bug(
        "every attempt of a trial has the same token", (Patch("models.claims:_claimed", _token_reused),)
    ),
    "cancel_only_in_redis": Bug(
        "a cancel is a flag in Redis",
        (
            Patch("search.studies.service:cancel_study", _cancel_in_redis),
            Patch("models.candidates:find_candidate", _claim_asks_redis),
        ),
    ),
    "checkpoint_without_rename": Bug(
        "a checkpoint is written under its own name", (Patch("training.files:write", _written_in_place),)
    ),
    "idempotency_key_outside_transaction": Bug(
        "the work is done in one transaction and its key stored in another",
        (Patch("api.idempotency:perform", _key_outside_transaction),),
    ),
}
