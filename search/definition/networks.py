"""The networks a recipe can train, as a study names them: one model for each kind, its defaults filled in."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from search.definition.hygiene import LONGEST_NAME
from search.space.parameters import Complaint, Part, Scalar

# JSON has lists; strictness is for what they hold.
Sizes: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
Widths: TypeAlias = Annotated[Sizes, Field(min_length=1)]
Initialisation: TypeAlias = Annotated[
    Literal["he_normal", "he_uniform", "xavier_normal", "xavier_uniform", "normal", "orthogonal"],
    Field(description="How weights are drawn; biases begin at zero"),
]
Embedding: TypeAlias = Annotated[int, Field(ge=1, le=1024, description="Numbers that stand for a token")]
_KIND = "mlp, cnn, signal, text, recommender, transformer or registered"
# Workers announce their networks beside their objectives, under names of one column.
ANNOUNCED = "network:"
LONGEST_NETWORK = LONGEST_NAME - len(ANNOUNCED)
# What the function that builds a registered network is given by the data.
GIVEN = ("shape", "outputs", "vocabulary")


class MlpNetwork(Part):
    """Fully connected layers with an activation between them."""

    kind: Literal["mlp"] = Field(description=_KIND)
    hidden: Widths = Field(description="Width of each hidden layer", examples=[[64]])
    activation: Literal["relu", "tanh", "gelu", "silu"] = Field("relu", description="Between layers")
    initialisation: Initialisation = "he_normal"


class CnnNetwork(Part):
    """3 x 3 convolutions; needs data made of pictures."""

    kind: Literal["cnn"] = Field(description=_KIND)
    channels: Widths = Field(description="Channels of each convolution", examples=[[16, 32]])
    initialisation: Initialisation = "he_normal"


class SignalNetwork(Part):
    """Convolutions over the features, taken as a signal in one dimension."""

    kind: Literal["signal"] = Field(description=_KIND)
    channels: Widths = Field(description="Channels of each convolution", examples=[[16, 32]])
    initialisation: Initialisation = "he_normal"


class TextNetwork(Part):
    """The mean of the tokens' vectors, and fully connected layers; needs data made of tokens."""

    kind: Literal["text"] = Field(description=_KIND)
    embedding: Embedding = 32
    hidden: Sizes = Field((), description="Width of each hidden layer", examples=[[64]])
    initialisation: Initialisation = "he_normal"


class RecommenderNetwork(Part):
    """Judges a candidate, the first token, by the bag of the others; needs data made of tokens."""

    kind: Literal["recommender"] = Field(description=_KIND)
    embedding: Embedding = 16
    hidden: Sizes = Field((32,), description="Width of each hidden layer", examples=[[32]])
    initialisation: Initialisation = "he_normal"


class TransformerNetwork(Part):
    """A small encoder over tokens, or over the rows of a picture."""

    kind: Literal["transformer"] = Field(description=_KIND)
    width: int = Field(32, ge=1, le=512, description="Numbers that stand for a place of the sequence")
    depth: int = Field(2, ge=1, le=8, description="Blocks")
    heads: int = Field(4, ge=1, le=64, description="Heads of attention; must divide the width")
    initialisation: Initialisation = "he_normal"


class RegisteredNetwork(Part):
    """A network of users' own, which workers have registered under this name."""

    kind: Literal["registered"] = Field(description=_KIND)
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NETWORK, pattern=r"\S")] = Field(
        description="As in the workers' tuneup.toml; GET /v1/objectives lists the known ones"
    )
    options: dict[str, Scalar] = Field(
        {}, description="Handed by name to the function that builds it", examples=[{"width": 32}]
    )

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        for name in fields.get("options") or {}:
            if name in GIVEN:
                yield f"options.{name}", "is what the data say; give the option another name"

    @property
    def announced(self) -> str:
        """The name under which workers say that they have it."""
        return ANNOUNCED + self.name


Network: TypeAlias = (
    MlpNetwork | CnnNetwork | SignalNetwork | TextNetwork | RecommenderNetwork | TransformerNetwork | RegisteredNetwork
)
AnyNetwork: TypeAlias = Annotated[Network, Field(discriminator="kind")]
NETWORKS: Mapping[str, type[Network]] = MappingProxyType(
    {
        "mlp": MlpNetwork,
        "cnn": CnnNetwork,
        "signal": SignalNetwork,
        "text": TextNetwork,
        "recommender": RecommenderNetwork,
        "transformer": TransformerNetwork,
        "registered": RegisteredNetwork,
    }
)
