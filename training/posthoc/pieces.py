"""What a run's plan wants of its curvature, done a piece at a time between the last batch and the last report."""

import math
from collections.abc import Iterator

import torch

from training.course import Findings, Run
from training.memory import is_out_of_memory
from training.posthoc.table import USES
from training.posthoc.trained import Unavailable, trained


def look_back(run: Run) -> None:
    """Do the next piece; when none is left, the run's findings are done.

    What cannot be had of a run is a note in its findings, and fails no trial that has been trained.
    """
    findings = run.findings
    if findings.pieces is None:
        findings.pieces = _pieces(run, findings)
    try:
        next(findings.pieces)
    except StopIteration:
        findings.done, findings.pieces = True, None


def _pieces(run: Run, findings: Findings) -> Iterator[None]:
    """Find the values of one use after another; none of a run that has diverged, as its end will say."""
    uses = USES[run.course.data.task.name]
    wanted = {} if run.state.gauges.over else run.course.plan.curvature
    for name, options in wanted.items():
        try:
            values = yield from uses[name](trained(run), **options)
        except Unavailable as why:
            findings.notes.append(f"no {name}: {why}")
        except (RuntimeError, MemoryError) as error:
            findings.notes.append(f"no {name}: {_harmless(error)}")
        else:
            sound = {key: value for key, value in values.items() if math.isfinite(value)}
            findings.values |= sound
            findings.notes += [f"no {key}: it is not finite" for key in values if key not in sound]


def _harmless(error: RuntimeError | MemoryError) -> str:
    """Say what went wrong where it does not speak against the trial; raise anything else again."""
    if is_out_of_memory(error):
        return "it did not fit into memory"
    if isinstance(error, torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # torch exports it all the same
        return "a matrix could not be decomposed"
    raise error
