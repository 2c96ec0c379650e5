"""Records as the ledger would give them, for tests that need no ledger."""

from datetime import UTC, datetime

from search.records import Params, TrialRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int, *, seq: int, state: str, params: Params | None, score: float | None = None) -> TrialRecord:
    return TrialRecord(
        study_id=1,
        number=number,
        state=state,
        origin="model",
        params=params,
        values=None,
        score=score,
        reason=None,
        attempt=1,
        seq=seq,
        queue="cpu",
        grid_index=None,
        why={},
        created_at=NOW,
        started_at=NOW,
        finished_at=None,
        violation=None if score is None else 0.0,
        draw=number,
    )
