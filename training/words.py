"""What a user's command is given: its environment, one JSON line at its beginning, and one for each order.

{"study", "trial", "number", "attempt", "params": {...}, "options": {...}, "seed", "checkpoint": "/abs/folder" | null,
 "resume": {"path": "/abs/file", "step": 12} | null}          first; `resume` is the newest checkpoint that is whole
{"step": 3, "stop": false}                                    a verdict, for each measurement where the study prunes
{"stop": true, "reason": "cancelled"}                         a stop; `step` is there if it is a verdict, and
                                                              `"checkpoint": true` if it shall write one first
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.channel import Order, Start
from training.files import Saved


@dataclass(frozen=True, slots=True)
class Objective:
    """What to run, and where: `environment` is added to our own, `options` go to the command as they are."""

    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    options: Mapping[str, Any]


def objective_of(given: Mapping[str, Any]) -> Objective:
    """Read an objective. Raise KeyError, TypeError or ValueError if it does not say what to run."""
    command = [str(word) for word in given["command"]]
    if not command or isinstance(given["command"], str):
        raise ValueError(f"command must be a list of words, got {given['command']!r}")
    environment = {str(name): str(value) for name, value in dict(given.get("environment") or {}).items()}
    return Objective(command, str(given["folder"]), environment, dict(given.get("options") or {}))


def first_words(start: Start, objective: Objective, resume: Saved | None) -> dict[str, Any]:
    """Return the first line. Raise ValueError if the trial's id is not `<study>-<number>`."""
    study, _, number = start.trial.rpartition("-")
    return {
        "study": study,
        "trial": start.trial,
        "number": int(number),
        "attempt": start.attempt,
        "params": dict(start.params),
        "options": dict(objective.options),
        "seed": start.seed,
        "checkpoint": str(start.checkpoints.folder) if start.checkpoints else None,
        "resume": {"path": str(resume.path), "step": resume.step} if resume else None,
    }


def environment(ours: Mapping[str, str], objective: Objective, params: Mapping[str, Any]) -> dict[str, str]:
    """Return our environment, which holds no secrets, with what the objective adds, and the parameters.

    Without PYTHONPATH, which leads to our own modules: the command's may have the same names.
    """
    kept = {name: value for name, value in ours.items() if name != "PYTHONPATH"}
    return {**kept, **objective.environment, "TUNEUP_PARAMS": json.dumps(dict(params))}


def order_words(order: Order) -> dict[str, Any]:
    """Put an order in the words that the command hears."""
    words: dict[str, Any] = {} if order.step is None else {"step": order.step}
    words["stop"] = order.stop
    if order.stop:
        words["reason"] = order.reason
    if order.checkpoint:
        words["checkpoint"] = True
    return words
