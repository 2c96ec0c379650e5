"""What metrics say about each other and about the rest of a study."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from search.definition.metrics import MOST_OBJECTIVES
from search.definition.searches import SEVERAL_OBJECTIVES
from search.errors import Fault

LEAVE_ONE = "or give all but one the role constraint or store"


def name_faults(
    names: Mapping[int, str], reported: Sequence[str] | None, late: Mapping[str, str] = MappingProxyType({})
) -> list[Fault]:
    """Check the names of metrics by place; `reported` are those that trials report (None: any).

    `late` are the others that they would report if the objective listed a use of curvature, each with that use.
    """
    faults = []
    seen: set[str] = set()
    for index, name in names.items():
        path = f"metrics[{index}].name"
        if name in seen:
            faults.append(Fault(path, f"{name!r} is listed already"))
        seen.add(name)
        if reported is not None and name not in reported and name in late:
            faults.append(
                Fault(path, f"{name!r} is reported where objective.curvature lists {late[name]}: add it there")
            )
        elif reported is not None and name not in reported:
            faults.append(Fault(path, f"the recipe does not report {name!r}; valid are {', '.join(reported)}"))
    return faults


def objective_faults(optimized: Sequence[str] | None, strategy: str | None, report: str | None) -> list[Fault]:
    """Check how many metrics are optimized (None: it could not be read), and that the rest of the study can with them."""
    if optimized is None:
        return []
    shown = ", ".join(optimized)
    if not optimized:
        return [Fault("metrics", "at least one metric must have the role optimize")]
    if len(optimized) > MOST_OBJECTIVES:
        return [
            Fault("metrics", f"at most {MOST_OBJECTIVES} may have the role optimize, got {len(optimized)}: {shown}")
        ]
    if len(optimized) == 1:
        return []
    faults = []
    if strategy is not None and strategy not in SEVERAL_OBJECTIVES:
        can = ", ".join(SEVERAL_OBJECTIVES)
        message = f"{strategy} optimizes one metric, and several are given ({shown}): use {can}, {LEAVE_ONE}"
        faults.append(Fault("search.strategy", message))
    if report == "best":
        message = f"of several optimized metrics ({shown}) no measurement is the best: give last, {LEAVE_ONE}"
        faults.append(Fault("report", message))
    return faults
