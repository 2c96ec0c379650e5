"""The recipes a study may name: pure data for validation and for GET /objectives. `training` implements them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from optim.catalog import COMMON, DEFAULT_OPTIMIZER, OPTIMIZERS, Option
from search.definition.reported import (
    CLASSIFIER_USES,
    GAUGES,
    REGRESSOR_USES,
    SPARSE_STEPS,
    CurvatureUse,
    ReportedMetric,
)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Data that every worker has; `form` is what its inputs are: numbers, pictures (numbers, too) or tokens.

    `classes` is None where a number is predicted. `images` is the side length of pictures, which are square, else None.
    `examples` is how many are trained on, without those of the validation split; None where that is not known.
    """

    name: str
    title: str
    features: int
    classes: int | None
    form: str = "numbers"
    images: int | None = None
    examples: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """A kind of network: the forms of data it takes, and the field that lists its layers, how many of what width.

    A kind without such a field has None and zeros.
    """

    name: str
    title: str
    takes: tuple[str, ...]
    layers: str | None = None
    most_layers: int = 0
    widest: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe. `names` are what its space or objective may set besides options of the optimizer and schedule.

    `metrics` are reported after every step; those of `curvature` with the last one, where the objective lists them.
    `networks` is empty where the recipe is its own network, whose options are those of its optimizer. `because` says why it
    has no other `optimizers`, `devices` and options.
    """

    name: str
    title: str
    data: tuple[DataSet, ...]
    networks: tuple[NetworkKind, ...]
    metrics: tuple[ReportedMetric, ...]
    step: str  # what one step of its measurements is
    most_steps: int
    largest_batch: int
    names: tuple[str, ...]
    curvature: tuple[CurvatureUse, ...]
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    devices: tuple[str, ...] = ("cpu", "gpu")
    because: str = ""

    @property
    def default_optimizer(self) -> str:
        """What its trials are trained by where nothing else is said."""
        return DEFAULT_OPTIMIZER if DEFAULT_OPTIMIZER in self.optimizers else self.optimizers[0]

    @property
    def stacks(self) -> bool:
        """Whether many of its trials can be trained together."""
        return bool(self.networks)

    def metrics_of(self, name: str | None) -> tuple[ReportedMetric, ...]:
        """Return what is reported after every step with data of this name; all there is where they are not known."""
        known = next((data for data in self.data if data.name == name), None)
        other = set() if known is None else {"val_accuracy" if known.classes is None else "val_mae"}
        return tuple(metric for metric in self.metrics if metric.name not in other)

    @property
    def common(self) -> dict[str, Option]:
        """The options of its trials that belong neither to the optimizer nor to the schedule."""
        return {name: COMMON[name] for name in self.names if name in COMMON}

    @property
    def late(self) -> dict[str, str]:
        """The metrics that are reported with the last step alone, each with the use of curvature that it takes."""
        return {metric.name: use.name for use in self.curvature for metric in use.metrics}


ANY_NUMBERS = ("numbers", "pictures")
NETWORKS = (
    NetworkKind("mlp", "Fully connected layers", ANY_NUMBERS, layers="hidden", most_layers=8, widest=4096),
    NetworkKind("cnn", "3 x 3 convolutions", ("pictures",), layers="channels", most_layers=4, widest=512),
    NetworkKind("signal", "1-D convolutions", ANY_NUMBERS, layers="channels", most_layers=8, widest=512),
    NetworkKind("text", "Mean of the tokens' vectors", ("tokens",), layers="hidden", most_layers=8, widest=4096),
    NetworkKind("recommender", "A candidate and a bag", ("tokens",), layers="hidden", most_layers=8, widest=4096),
    NetworkKind("transformer", "Small transformer encoder", ("tokens", "pictures")),
    NetworkKind("registered", "A network of your own, registered by workers", (*ANY_NUMBERS, "tokens")),
)

CLASSIFIER = Recipe(
    name="classifier",
    title="Train a small network to classify: data that every worker has, or a file in the workers' data folder",
    data=(
        DataSet("digits", "Handwritten digits, 8 x 8 pixels", 64, 10, "pictures", images=8, examples=1437),
        DataSet("wine", "Chemical analysis of wines", 13, 3, examples=142),
        DataSet("breast_cancer", "Breast cancer Wisconsin (diagnostic)", 30, 2, examples=455),
        DataSet("iris", "Iris plants", 4, 3, examples=120),
        DataSet("digits_tokens", "Handwritten digits, pixel by pixel as tokens", 64, 10, "tokens", examples=1437),
        DataSet("docstrings", "Docstrings of Python's standard library, by area", 48, 8, "tokens"),
        DataSet("imports", "What else a module of Python's standard library imports", 25, 2, "tokens"),
        DataSet("digits_parity", "Handwritten digits, even or odd", 64, 2, "pictures", images=8, examples=1437),
    ),
    networks=NETWORKS,
    metrics=(
        ReportedMetric("train_loss", "Mean cross-entropy over the training batches of the epoch", "minimize"),
        ReportedMetric("val_loss", "Mean cross-entropy on the validation split", "minimize"),
        ReportedMetric("val_accuracy", "Share of the validation split classified correctly", "maximize"),
        *GAUGES,
    ),
    step="epoch",
    most_steps=10_000,
    largest_batch=int(COMMON["batch_size"].high),
    names=("optimizer", "schedule", *COMMON),
    curvature=CLASSIFIER_USES,
)

# Targets are counted in standard deviations of the training part.
REGRESSOR = replace(
    CLASSIFIER,
    name="regressor",
    title="Train a small network to predict a number: data that every worker has, or a file in the workers' data folder",
    data=(
        DataSet("diabetes", "Progression of diabetes after a year", 10, None, examples=353),
        DataSet("even_quadratic", "An even polynomial over the unit sphere", 16, None, examples=16_000),
        DataSet("even_quadratic_clustered", "The same, over points in a few clusters", 16, None, examples=16_000),
    ),
    metrics=(
        ReportedMetric("train_loss", "Mean squared error over the training batches of the epoch", "minimize"),
        ReportedMetric("val_loss", "Mean squared error on the validation split", "minimize"),
        ReportedMetric("val_mae", "Mean absolute error on the validation split", "minimize"),
        *GAUGES,
    ),
    curvature=REGRESSOR_USES,
)

WIDE_TWO_LAYER = replace(
    CLASSIFIER,
    name="wide-two-layer",
    title="Train a very wide two-layer network of which few neurons are active for an example, and step those alone",
    data=tuple(data for data in (*CLASSIFIER.data, *REGRESSOR.data) if data.form in ANY_NUMBERS),
    networks=(),
    metrics=(
        ReportedMetric("train_loss", "Mean loss over the training batches of the epoch", "minimize"),
        ReportedMetric("val_loss", "Mean loss on the validation split", "minimize"),
        ReportedMetric("val_accuracy", "Share of the validation split classified correctly, of classes", "maximize"),
        ReportedMetric("val_mae", "Mean absolute error on the validation split, of numbers", "minimize"),
        *SPARSE_STEPS,
    ),
    names=("optimizer", "schedule", "warmup", "warmup_steps", "warmup_shape", "batch_size", "batch_mode", "repeat"),
    curvature=(),
    optimizers=("sparse_sgd",),
    devices=("cpu",),
    because="it moves the rows of active neurons alone, and momentum, Adam, clipping and averages move all of them",
)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (CLASSIFIER, REGRESSOR, WIDE_TWO_LAYER)}
)
