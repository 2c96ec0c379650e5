"""Ending a study before its trials are spent: by the rules it has, or because no trial fits into what is left.

Each is done in the transaction that ended the trial, or would have started the next, under the study's lock. Nothing
more is started then; what runs goes on to its end. Where a rule ends the search of a study that is to give a verdict,
the replicates still follow; a study into whose budget no trial fits has none.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models import closings, stoppings
from models.endings import Verdicts, device_seconds
from models.ids import show_trial
from models.ledger import elapsed, lock_study, update_study
from models.reservations import Reservation
from models.session import Connection, Row
from models.states import LIVE_STUDY, StudyState
from search.definition.limits import Stopping
from search.definition.parse import StudyDefinition
from search.stopping import Estimate, Left, estimate, expects_little, room, stalled
from search.studies.views import read_definition

# A median of so many says enough.
_MOST_SEEN = 64


def after(connection: Connection, done: Verdicts, definition: StudyDefinition, now: datetime) -> None:
    """End the study if these endings have it end; without rules and limits nothing is looked at."""
    study = done.study
    if study is None or not done.accepted or study.closing is not None:
        return
    if study.stopping is not None and _searches(study, definition):
        why = _found_enough(connection, study.id, definition, Stopping.model_validate(study.stopping))
        if why is not None:
            _close(connection, study.id, closings.STOPPED, why, now)
            return
    if _limited(study) and study.running == len(done.accepted):
        _close_if_full(connection, study.id, now)


def _searches(study: Row[Any], definition: StudyDefinition) -> bool:
    """Say whether rules look at the study: not once its replicates are all that is to come."""
    return definition.verdict is None or (study.reserved > 0 and study.reason is None)


def admit(connection: Connection, found: Reservation, now: datetime) -> Reservation | None:
    """Cut what is to be started to what can finish in what is left; None for none.

    A study that is idle then ends; one of which some run counts as no work until one of them has ended.
    """
    study = found.study
    if not _limited(study):
        return found
    fits = _room(connection, study, now)
    if fits >= len(found.again) + len(found.numbers):
        return found
    if fits > 0:
        return found.cut(int(fits))
    if study.running == 0:
        _close_if_full(connection, study.id, now)
    elif study.full_seq != study.seq:
        # Nobody need look again until something of it has changed.
        update_study(connection, study, {"full_seq": study.seq})
    return None


def _limited(study: Row[Any]) -> bool:
    return study.seconds is not None or study.gpu_seconds is not None


def _found_enough(connection: Connection, study_id: int, definition: StudyDefinition, rules: Stopping) -> str | None:
    """Say which rule is met first, and how; None for none."""
    return (
        _target(connection, study_id, definition, rules)
        or _no_improvement(connection, study_id, rules)
        or _no_expectation(connection, study_id, rules)
    )


def _target(connection: Connection, study_id: int, definition: StudyDefinition, rules: Stopping) -> str | None:
    if rules.target is None:
        return None
    metric, best = definition.objectives[0], stoppings.best_completed(connection, study_id)
    sign = -1 if metric.goal == "maximize" else 1
    if best is None or best.score is None or best.score > sign * rules.target:
        return None
    reached = f"{metric.name} {sign * best.score:g}"
    return f"stopping: target {rules.target:g} reached by trial {show_trial(study_id, best.number)} with {reached}"


def _no_improvement(connection: Connection, study_id: int, rules: Stopping) -> str | None:
    rule = rules.no_improvement
    if rule is None:
        return None
    recent = stoppings.last_ended(connection, study_id, rule.trials)
    if len(recent) < rule.trials or not stalled(rule, stoppings.best_before(connection, study_id, rule.trials), recent):
        return None
    more = f" of more than {rule.min_delta:g}" if rule.min_delta else ""
    return f"stopping: no improvement{more} in {rule.trials} trials"


def _no_expectation(connection: Connection, study_id: int, rules: Stopping) -> str | None:
    below = rules.expected_improvement_below
    if below is None:
        return None
    whys = stoppings.last_reasons(connection, study_id, rules.patience)
    expected = [_number(why.get("expected_improvement")) for why in whys]
    if not expects_little(below, rules.patience, expected):
        return None
    return f"stopping: the last {rules.patience} suggestions were expected to improve by less than {below:g}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _close_if_full(connection: Connection, study_id: int, now: datetime) -> None:
    """End a study of which nothing runs and into whose budget no trial fits."""
    study = lock_study(connection, study_id)
    if study is None or study.state != StudyState.RUNNING or study.running > 0 or _room(connection, study, now) > 0:
        return
    trial = _estimate(connection, study_id)
    takes = "" if trial is None else f", and a trial takes about {_shown(study, trial)}"
    _close(connection, study_id, closings.NOT_ADMITTED, f"budget: {_remaining(study, now)}{takes}", now)


def _shown(study: Row[Any], trial: Estimate) -> str:
    return f"{trial.wall if study.gpu_seconds is None else trial.device:.3g}"


def _remaining(study: Row[Any], now: datetime) -> str:
    if study.gpu_seconds is not None:
        return f"{max(0.0, study.gpu_seconds - study.gpu_spent):.3g} of {study.gpu_seconds:g} device seconds are left"
    return f"{max(0.0, study.seconds - elapsed(study, now)):.3g} of {study.seconds:g} seconds are left"


def _close(connection: Connection, study_id: int, closing: str, why: str, now: datetime) -> None:
    study = lock_study(connection, study_id)
    if study is None or study.state not in LIVE_STUDY or study.closing is not None:
        return
    if closing != closings.STOPPED or not study.reserved:
        closings.close(connection, study, closing, reason=why, now=now)
    elif study.finished < study.allocated or study.allocated + study.reserved < study.budget:
        stored = read_definition(study.definition)
        budget = stored.budget.model_copy(update={"trials": study.allocated + study.reserved})
        lowered = stored.model_copy(update={"budget": budget}).model_dump(mode="json")
        closings.end_search(connection, study, lowered, reason=why, now=now)


def _room(connection: Connection, study: Row[Any], now: datetime) -> float:
    left = Left(
        seconds=None if study.seconds is None else study.seconds - elapsed(study, now),
        gpu_seconds=None if study.gpu_seconds is None else study.gpu_seconds - study.gpu_spent,
        running=study.running,
    )
    return room(left, _estimate(connection, study.id))


def _estimate(connection: Connection, study_id: int) -> Estimate | None:
    """Look at what the last completed trials took in all their attempts."""
    attempts: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in stoppings.attempts_of_completed(connection, study_id, _MOST_SEEN):
        attempts[row.number].append(row)
    return estimate([_wall(rows) for rows in attempts.values()], [_device(rows) for rows in attempts.values()])


def _wall(rows: Sequence[Row[Any]]) -> float:
    return float(sum((row.finished_at - row.started_at).total_seconds() for row in rows))


def _device(rows: Sequence[Row[Any]]) -> float:
    return sum(device_seconds(row.seconds, row.population, row.started_at, row.finished_at) for row in rows)
