"""What can be made of the curvature at a run's end, by name, and for which tasks."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from training.posthoc.forgetting import forgetting
from training.posthoc.laplace import laplace
from training.posthoc.noise_scale import noise_scale
from training.posthoc.saliency import saliency
from training.posthoc.spectrum import spectrum
from training.posthoc.trained import Pieces, Values
from training.tasks import CLASSIFICATION, REGRESSION, Task

# With options by name, where it has any.
Use: TypeAlias = Callable[..., Pieces[Values]]

# Those of classes count what is right, and so do their names.
_ANY: Mapping[str, Use] = {"saliency": saliency, "noise_scale": noise_scale, "spectrum": spectrum}
USES: Mapping[str, Mapping[str, Use]] = MappingProxyType(
    {
        CLASSIFICATION.name: {"laplace": laplace, "forgetting": forgetting, **_ANY},
        REGRESSION.name: {"laplace": laplace, **_ANY},
    }
)


def check_uses(given: Any, task: Task) -> dict[str, dict[str, float]]:  # noqa: ANN401 - as it was posted
    """Return the names of uses that an objective lists, each with its options. Raise ValueError listing the valid ones."""
    valid = USES[task.name]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ValueError(f"objective.curvature must be a list, of {', '.join(valid)}")  # noqa: TRY004 - a wrong value
    named = [dict(each) if isinstance(each, Mapping) else {"name": each} for each in given]
    found = {each.pop("name", None): each for each in named}
    unknown = [name for name in found if name not in valid]
    if unknown:
        raise ValueError(f"objective.curvature: unknown for {task.name}: {unknown[0]!r}; valid: {', '.join(valid)}")
    return found
