"""What `objective.curvature` may list: a use of curvature by its name, or an object with its name and options of its own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, Tag

from search.definition.reported import SPARSITY, STRENGTH
from search.space.parameters import Part

# What can be made of curvature; each recipe says which.
Use: TypeAlias = Literal["laplace", "forgetting", "saliency", "noise_scale", "spectrum"]
USES: tuple[Use, ...] = get_args(Use)


class PlainUse(Part):
    """A use that has no options."""

    name: Use


class ForgettingUse(Part):
    """How much of a first task is forgotten while a second one is learned, with consolidation and without."""

    name: Literal["forgetting"]
    strength: float = Field(100.0, gt=STRENGTH.low, le=STRENGTH.high, description=STRENGTH.title)


class SaliencyUse(Part):
    """What is left of a network without most of its weights."""

    name: Literal["saliency"]
    sparsity: float = Field(0.8, gt=SPARSITY.low, lt=SPARSITY.high, description=SPARSITY.title)


_WORD = "word"
# The models of objects by what a location calls them; a name alone has none.
USE_FORMS: Mapping[str, type[Part] | None] = MappingProxyType(
    {_WORD: None, "plain": PlainUse, "forgetting": ForgettingUse, "saliency": SaliencyUse}
)


def use_name(given: object) -> str | None:
    """Return the name of the use that an entry lists, read or still to be read; None where it gives none."""
    name: Any = given.get("name") if isinstance(given, Mapping) else getattr(given, "name", given)
    return name if isinstance(name, str) else None


def _form(given: object) -> str:
    if not isinstance(given, Mapping | Part):
        return _WORD
    name = use_name(given)
    return name if name is not None and USE_FORMS.get(name) is not None else "plain"


AnyUse: TypeAlias = Annotated[
    Annotated[Use, Tag(_WORD)]
    | Annotated[PlainUse, Tag("plain")]
    | Annotated[ForgettingUse, Tag("forgetting")]
    | Annotated[SaliencyUse, Tag("saliency")],
    Discriminator(_form),
]
