"""What a client says to the service, in few words."""

import json
from typing import Any

from tests.api.stage import Stage, problem, study

HEADER = "Idempotency-Key"
RANDOM = study("wine-random")
MODEL = study("digits-mlp", search={"strategy": "bayesian", "seed": 3, "startup": 2}, pruning=None)
VALUES = {"val_loss": 0.5}


def post(stage: Stage, path: str, body: Any = None, *, key: str | None = None) -> Any:
    """Post JSON, NaN and all."""
    headers = {HEADER: key} if key else {}
    if body is None:
        return stage.client.post(f"/v1{path}", headers=headers)
    content = json.dumps(body).encode()
    return stage.client.post(f"/v1{path}", content=content, headers=headers | {"Content-Type": "application/json"})


def ok(reply: Any) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()


def ask(stage: Stage, made: Any, **body: Any) -> Any:
    return ok(post(stage, f"/studies/{made['id']}/trials:ask", body))


def one(stage: Stage, raw: Any = RANDOM, **body: Any) -> Any:
    """Return the first trial of a new study, asked for."""
    return ask(stage, stage.create(raw), **body)["data"][0]


def refused(reply: Any) -> dict[str, str]:
    """Return the faults of a conflict by path."""
    assert reply.status_code == 409, reply.text
    body = problem(reply)
    assert body["detail"]
    return {fault["path"]: fault["message"] for fault in body["errors"]}
