"""The trainer of wide two-layer networks, which is no rule for gradients: its options, with those of its network."""

from ..records import OptimizerInfo, Option
from .shared import FEW, MANY, SOME, decay, rate

SPARSE_SGD = OptimizerInfo(
    name="sparse_sgd",
    title="Sparse SGD on a wide two-layer network",
    options=(
        rate(10.0, search=(1.0, 100.0)),
        decay(0.0, search=(1e-8, 1e-5)),
        Option(
            "width", "int", 16_384, 2, 4_194_304, search_low=1_000, search_high=100_000, scale="log", search_from=FEW,
            title="Neurons",
        ),
        Option(
            "threshold_by", "choice", "width", choices=("width", "fixed", "share"),
            title="What sets the threshold: sqrt(threshold_factor ln width), threshold itself, or active_share",
        ),
        Option(
            "threshold_factor", "float", 0.4, 0.0, 10.0, search_low=0.1, search_high=0.8, search_from=SOME,
            title="c of the threshold sqrt(c ln width)",
        ),
        Option("threshold", "float", 2.0, 0.0, 100.0, title="What an inner product must pass, where it is fixed"),
        Option(
            "active_share", "float", 0.02, 0.0, 1.0, low_open=True, scale="log",
            title="Share of the neurons that is to be active as training begins, and that top_k keeps",
        ),
        Option(
            "activation", "choice", "shifted_relu", choices=("shifted_relu", "shifted_squared_relu", "top_k"),
            title="What an active neuron says: its excess, the square of that, or its inner product if among the highest",
        ),
        Option(
            "initialisation", "choice", "gaussian", choices=("gaussian", "paired"),
            title="All neurons independent, or in pairs that cancel each other as training begins",
        ),
        Option("centered", "bool", True, 0, 1, title="Take the mean from inputs before they are brought to length 1"),
        Option("train_examples", "int", 0, 0, 1_000_000_000, title="Train on so many examples; 0 takes all"),
        Option(
            "reporter", "choice", "auto", choices=("auto", "lists", "dense", "ball_tree", "correlation_tree"),
            title="What finds active neurons; auto takes what is fastest",
        ),
        Option(
            "slack", "float", 0.4, 0.0, 10.0, low_open=True, search_low=0.05, search_high=1.0, scale="log",
            search_from=MANY, title="How far below the threshold lists reach; changes time alone",
        ),
    ),
    source=(
        "Song, Yang & Zhang, Does Preprocessing Help Training Over-parameterized Neural Networks?, 2021; margin lists as "
        "the neighbour lists of Verlet, 1967"
    ),
    when_to_use="for the recipe wide-two-layer alone: thousands of neurons of which few are active for an example",
)  # fmt: skip

TRAINERS = (SPARSE_SGD,)
