"""The tables. Nothing outside this package (and the migrations) speaks SQL.

Keys carry the ledger's promises: a trial is (study, number), so numbers cannot double; a grid point is unique in
its study; an attempt is (trial, attempt); a lease is one row per trial; an event is (study, seq).
Counters that decide (budget, numbers, parallelism) live on the study row, under its lock.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Moment(TypeDecorator[datetime]):
    """A point in time, always in UTC and always aware; SQLite stores it without the offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


# none_as_null: an absent value is SQL's NULL, never the JSON text "null". Plain JSON rather than JSONB: it keeps every
# number as it was written (JSONB turns 1e16 into an integer), and nothing is ever searched inside it.
Json = JSON(none_as_null=True)


class Table(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: Moment, dict[str, Any]: Json, float: Double}  # noqa: RUF012  read once by SQLAlchemy


class Project(Table):
    """A tenant: everything below it is invisible from any other."""

    __tablename__ = "project"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[datetime]


class Study(Table):
    """One optimization, with the counters that every claim and every finish goes through."""

    __tablename__ = "study"
    __table_args__ = (
        CheckConstraint("allocated <= budget", name="within_budget"),
        CheckConstraint("drawn >= 0 AND running >= 0 AND running + finished <= allocated", name="counters"),
        CheckConstraint("state IN ('running', 'paused', 'completed', 'cancelled', 'failed')", name="state"),
        CheckConstraint("reserved >= 0 AND allocated + reserved <= budget", name="reserved"),
        Index(None, "project_id", "created_at", "id"),
        Index(None, "project_id", "fingerprint"),
        Index(None, "state", "queue"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id))
    name: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    definition: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, Any]]
    queue: Mapped[str] = mapped_column(String(32))
    # The registered objective that its trials run: only workers that have it may claim. Null: any worker of the queue.
    objective: Mapped[str | None] = mapped_column(String(128))
    seed: Mapped[int] = mapped_column(BigInteger)
    budget: Mapped[int]
    # The part of the budget that is kept for the verdict's replicates until they are queued.
    reserved: Mapped[int] = mapped_column(default=0, server_default="0")
    # A digest of what the client said of its network and data; studies with the same one trained the same thing.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    parallelism: Mapped[int | None]
    seconds: Mapped[float | None]
    allocated: Mapped[int] = mapped_column(default=0)
    drawn: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)
    finished: Mapped[int] = mapped_column(default=0)
    seq: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    # That no trial is started any more although the budget is not allocated, in a word; `reason` says why, and the study
    # ends with its last running trial.
    closing: Mapped[str | None] = mapped_column(String(32))
    # A study's clock counts from its first claim and stands while it is paused.
    paused_at: Mapped[datetime | None]
    paused_seconds: Mapped[float] = mapped_column(default=0.0)
    # The budget of device seconds, and what attempts that have ended spent of such.
    gpu_seconds: Mapped[float | None]
    gpu_spent: Mapped[float] = mapped_column(default=0.0, server_default="0")
    # As of which `seq` no further trial fitted into its seconds, beside those that run. Whatever makes room, the end of a
    # trial or an edit, moves `seq` on, so nothing has to take this back.
    full_seq: Mapped[int | None] = mapped_column(BigInteger)
    # The rules by which it stops early, as its definition has them.
    stopping: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # Whether trials may become parents: their checkpoints stay until the study has ended.
    inherits: Mapped[bool] = mapped_column(default=False, server_default=false())


class Trial(Table):
    """One candidate. `params` is null between the claim that reserved it and the suggestion that fills it."""

    __tablename__ = "trial"
    __table_args__ = (
        UniqueConstraint("study_id", "grid_index"),
        UniqueConstraint("study_id", "dedupe_key"),
        CheckConstraint(
            "state IN ('queued', 'running', 'completed', 'pruned', 'diverged', 'failed', 'cancelled')", name="state"
        ),
        # NaN sorts above infinity in PostgreSQL and equals itself: only a bounded range keeps both out.
        CheckConstraint(
            "score IS NULL OR (score >= -1.7976931348623157e308 AND score <= 1.7976931348623157e308)", name="finite"
        ),
        CheckConstraint(
            "violation IS NULL OR (violation >= 0 AND violation <= 1.7976931348623157e308)", name="measured"
        ),
        Index(None, "study_id", "seq"),
        Index(None, "study_id", "state", "violation", "score", "number"),
    )

    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(16))
    queue: Mapped[str] = mapped_column(String(32))
    origin: Mapped[str] = mapped_column(String(16))
    draw: Mapped[int | None]
    grid_index: Mapped[int | None] = mapped_column(BigInteger)
    dedupe_key: Mapped[str | None] = mapped_column(String(64))
    params: Mapped[dict[str, Any] | None] = mapped_column(Json)
    values: Mapped[dict[str, Any] | None] = mapped_column(Json)
    score: Mapped[float | None]
    # By how much the constraints are violated: 0 is feasible, null no result or not known.
    violation: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(Text)
    why: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=0)
    # The attempts up to this one no longer count as strikes: a person has asked for another try.
    forgiven: Mapped[int] = mapped_column(default=0, server_default="0")
    seq: Mapped[int] = mapped_column(BigInteger)
    next_run_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    # How the attempt was run that ended it: lane, population, seconds, alone. Null until then, and where nobody said.
    execution: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # The last rung at which it was to wait for promotion. Queued there, it has the values of that step, and can be
    # claimed once the rung says that it was promoted.
    waiting_step: Mapped[int | None] = mapped_column(BigInteger)
    # The number of the trial from whose checkpoint it goes on.
    parent: Mapped[int | None]


def _of_trial() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["study_id", "number"], [Trial.study_id, Trial.number], ondelete="CASCADE")


class Attempt(Table):
    """One execution of a trial."""

    __tablename__ = "attempt"
    __table_args__ = (_of_trial(),)

    study_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    # The lease's token, kept past its end: it tells a holder that repeats itself from everybody else.
    token: Mapped[str | None] = mapped_column(String(32))
    worker: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(Text)
    # How many trials shared its trainer, itself included. By its claim what the worker held then, within the limit of
    # its company; exactly once it was said.
    population: Mapped[int | None]
    # Its share of the seconds that its trainer spent on steps.
    seconds: Mapped[float | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Lease(Table):
    """Who may write for a trial right now. Narrow, because every heartbeat rewrites its row."""

    __tablename__ = "lease"
    __table_args__ = (
        _of_trial(),
        UniqueConstraint("token"),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    study_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    token: Mapped[str] = mapped_column(String(32))
    worker: Mapped[str] = mapped_column(String(128))
    beat: Mapped[int] = mapped_column(BigInteger, default=0)
    # How long it lasts without a heartbeat, where its holder asked for another time than the deployment's.
    seconds: Mapped[float | None]
    # Why this trial alone is to stop; its holder hears it with the next heartbeat.
    stop: Mapped[str | None] = mapped_column(String(64))


class Measurement(Table):
    """What an attempt reported at one step."""

    __tablename__ = "measurement"
    __table_args__ = (_of_trial(),)

    study_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    values: Mapped[dict[str, Any]]


class Checkpoint(Table):
    """A file that an attempt had written whole before this row was; `values` are those the trial had by then."""

    __tablename__ = "checkpoint"
    __table_args__ = (_of_trial(),)

    study_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    values: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[datetime]


class Rung(Table):
    """The score of a trial where pruning looks, and what was decided: one row for each (trial, rung)."""

    __tablename__ = "rung"
    # Led by the step: an index led by the study would tempt a planner that knows little to look for a trial in it.
    __table_args__ = (_of_trial(), Index(None, "step", "study_id", "bracket", "score"))

    study_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # What the rule looked at: the score, or the metric that has bounds; of several losses the first.
    score: Mapped[float]
    # All of them where the study has several.
    losses: Mapped[list[float] | None] = mapped_column(Json)
    # Scores are compared within a bracket.
    bracket: Mapped[int] = mapped_column(default=0, server_default="0")
    stop: Mapped[bool]
    reason: Mapped[str | None] = mapped_column(Text)
    # The trial was to stop here until others were behind it; now it may go on.
    promoted: Mapped[bool] = mapped_column(default=False, server_default=false())


class Event(Table):
    """One state change. `seq` is taken from the study row under the lock that the change holds, so none is skipped."""

    __tablename__ = "event"

    study_id: Mapped[int] = mapped_column(ForeignKey(Study.id, ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int | None]
    attempt: Mapped[int | None]
    source: Mapped[str | None] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class IdempotencyKey(Table):
    """The reply to a POST that carried an Idempotency-Key, stored in the transaction that did the work."""

    __tablename__ = "idempotency_key"

    project_id: Mapped[int] = mapped_column(ForeignKey(Project.id), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class Worker(Table):
    """A supervisor that said it is there; display only, leases decide."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    queue: Mapped[str] = mapped_column(String(32))
    device: Mapped[str | None] = mapped_column(String(64))
    capacity: Mapped[int]
    # The names of the objectives registered there.
    objectives: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
