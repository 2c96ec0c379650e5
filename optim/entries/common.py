"""Options that every training run has, whatever its optimizer and schedule."""

from ..records import Option

OPTIONS = (
    Option(
        "warmup", "float", 0.0, 0.0, 1.0, high_open=True, search_low=0.0, search_high=0.1, search_from=10,
        title="Fraction of all steps in which the rate rises from near zero to its base",
    ),
    Option("batch_size", "int", 32, 1, 1_048_576, title="Examples in one step"),
)  # fmt: skip
