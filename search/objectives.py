"""The recipes a study may name: pure data for validation and for GET /objectives. `training` implements them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class DataSet:
    """Data a recipe can train on; `images` is the side length if its rows are square pictures, else None."""

    name: str
    title: str
    features: int
    classes: int
    images: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """A kind of network: the field that lists its layers, how many of what width, and whether it needs pictures."""

    name: str
    title: str
    layers: str
    most_layers: int
    widest: int
    images_only: bool = False


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """A number that a recipe reports after every step, and the direction in which it is usually optimized."""

    name: str
    title: str
    goal: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe. `names` are what its space or objective may set besides options of the optimizer and schedule."""

    name: str
    title: str
    data: tuple[DataSet, ...]
    networks: tuple[NetworkKind, ...]
    metrics: tuple[ReportedMetric, ...]
    step: str  # what one step of its measurements is
    most_steps: int
    largest_batch: int
    names: tuple[str, ...]


CLASSIFIER = Recipe(
    name="classifier",
    title="Train a small network to classify a data set that is part of scikit-learn",
    data=(
        DataSet("digits", "Handwritten digits, 8 x 8 pixels", features=64, classes=10, images=8),
        DataSet("wine", "Chemical analysis of wines", features=13, classes=3),
        DataSet("breast_cancer", "Breast cancer Wisconsin (diagnostic)", features=30, classes=2),
        DataSet("iris", "Iris plants", features=4, classes=3),
    ),
    networks=(
        NetworkKind("mlp", "Fully connected layers with ReLU", layers="hidden", most_layers=8, widest=4096),
        NetworkKind("cnn", "3 x 3 convolutions", layers="channels", most_layers=4, widest=512, images_only=True),
    ),
    metrics=(
        ReportedMetric("train_loss", "Mean cross-entropy over the training batches of the epoch", "minimize"),
        ReportedMetric("val_loss", "Mean cross-entropy on the validation split", "minimize"),
        ReportedMetric("val_accuracy", "Share of the validation split classified correctly", "maximize"),
    ),
    step="epoch",
    most_steps=10_000,
    largest_batch=4096,
    names=("optimizer", "schedule", "warmup", "batch_size"),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (CLASSIFIER,)})
