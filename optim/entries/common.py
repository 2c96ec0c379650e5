"""Options that every training run has, whatever its optimizer and schedule."""

from ..records import Option


def _bound(name: str, what: str) -> Option:
    return Option(name, "float", 0.0, 0.0, 1e6, title=f"Largest {what}, usually 0.1 to 10; 0 clips nothing")


OPTIONS = (
    Option(
        "warmup", "float", 0.0, 0.0, 1.0, high_open=True, search_low=0.0, search_high=0.1, search_from=10,
        title="Fraction of all steps in which the rate rises from near zero to its base",
    ),
    Option(
        "warmup_steps", "int", 0, 0, 1_000_000_000,
        title="Steps in which the rate rises, in place of a fraction of all; fewer than all steps, 0 leaves it to warmup",
    ),
    Option(
        "warmup_shape", "choice", "linear", choices=("none", "linear", "exponential", "cosine"),
        title="How the rate rises; none is no warm-up, whatever its length",
    ),
    Option("batch_size", "int", 32, 1, 4096, title="Examples in one step"),
    Option(
        "batch_mode", "choice", "mini", choices=("mini", "full", "single"),
        title="How the examples are cut: batch_size at a time, all at once, one by one",
    ),
    Option(
        "repeat", "int", 1, 1, 1000,
        title="Number of a repetition; tells runs apart that differ in their seed alone",
    ),
    _bound("clip_value", "absolute value of an element of a gradient"),
    _bound("clip_norm", "norm of all gradients together"),
    _bound("clip_layer_norm", "norm of the gradient of each parameter tensor"),
    Option(
        "ema", "float", 0.0, 0.0, 1.0, high_open=True, scale="reverse_log",
        title="Weight of the past in the moving average of parameters that is evaluated; 0 evaluates the parameters",
    ),
    Option(
        "swa_start", "float", 1.0, 0.0, 1.0, low_open=True,
        title="Fraction of all steps after which parameters are averaged evenly, to evaluate the mean; 1 averages none",
    ),
)  # fmt: skip
