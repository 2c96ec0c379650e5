"""Asking for trials from outside: a client takes some, runs them itself, and tells what came out (`search.trials.remote`)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from models import trials
from models.claims import Claimed
from models.leases import CLIENT
from models.session import Connection
from search.records import TrialRecord
from search.studies.views import get_study_row, trial_record
from search.trials.claiming import Claimer

_LONGEST_HOLDER = 128


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, for how many trials, and how long it may keep silent (None: as long as the deployment's leases last)."""

    client: str
    count: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Leased:
    """A trial to run, the token that every word about it must carry, and its lease's own length."""

    record: TrialRecord
    token: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client was given, and where the study stands; without trials there is nothing to do now."""

    study_state: str
    trials: Sequence[Leased]


def holder(client: str) -> str:
    """Return the name under which a client holds leases: no worker's, and short enough for its column."""
    name = f"{CLIENT}{client}"
    if len(name) <= _LONGEST_HOLDER:
        return name
    digest = hashlib.sha256(client.encode()).hexdigest()
    return f"{name[: _LONGEST_HOLDER - len(digest) - 1]}~{digest}"


def take(connection: Connection, project_id: int, text: str, ask: Ask, claimer: Claimer) -> list[Claimed]:
    """Take trials of a study for a client, those first that it holds already. Raise NotFound.

    Those without parameters are still to be filled, see `Claimer.suggesting`.
    """
    study = get_study_row(connection, project_id, text)
    return claimer.hold(connection, study.id, client=holder(ask.client), count=ask.count, seconds=ask.seconds)


def offer(connection: Connection, project_id: int, text: str, claimed: Sequence[Claimed]) -> Offer:
    """Show the trials that are still held by those who took them. Raise NotFound when the study is gone."""
    study = get_study_row(connection, project_id, text)
    rows = trials.leased_trials(connection, study.id, [claim.token for claim in claimed])
    return Offer(study.state, [Leased(trial_record(row), lease.token, lease.seconds) for row, lease in rows])
