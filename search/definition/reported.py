"""What recipes report: after every step, and at the last one what is made of the curvature there, where that is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """A number that a recipe reports, and the direction in which it is usually optimized."""

    name: str
    title: str
    goal: str


@dataclass(frozen=True, slots=True)
class CurvatureUse:
    """A use of curvature that `objective.curvature` may list; its metrics are reported with the last step alone."""

    name: str
    title: str
    metrics: tuple[ReportedMetric, ...]


# What is watched in every run of ours.
GAUGES = (
    ReportedMetric("grad_norm", "Norm of the gradient, a mean over steps of the epoch", "minimize"),
    ReportedMetric(
        "update_ratio", "Size of a step relative to the parameters, a mean over steps of the epoch", "minimize"
    ),
)

_LIKELIHOODS = (
    ReportedMetric("map_nll", "Negative log-likelihood of the validation split, of the parameters alone", "minimize"),
    ReportedMetric("laplace_nll", "The same, of the Laplace approximation", "minimize"),
    ReportedMetric("laplace_precision", "Prior precision that was chosen for it", "minimize"),
)
_CALIBRATION = (
    ReportedMetric("map_ece", "Expected calibration error of the parameters alone, in 15 bins", "minimize"),
    ReportedMetric("laplace_ece", "The same, of the Laplace approximation", "minimize"),
)
_MEMORIES = (
    ReportedMetric("ewc_kept", "Accuracy on the task after a second one was learned with consolidation", "maximize"),
    ReportedMetric("ewc_learned", "Accuracy on that second task", "maximize"),
    ReportedMetric("plain_kept", "Accuracy on the task after a second one was learned as it is", "maximize"),
    ReportedMetric("plain_learned", "Accuracy on that second task", "maximize"),
)


def _laplace(metrics: tuple[ReportedMetric, ...]) -> CurvatureUse:
    return CurvatureUse("laplace", "Laplace approximation of the last layer: how sure it may be", metrics)


def _saliency(measure: str, title: str, goal: str) -> CurvatureUse:
    ways = {"pruned": "those of least Fisher saliency", "pruned_magnitude": "the smallest", "pruned_random": "any"}
    return CurvatureUse(
        "saliency",
        "Pruning by the Fisher information: which weights matter",
        tuple(
            ReportedMetric(f"{way}_{measure}", f"{title} without 80 % of the weights, {which}", goal)
            for way, which in ways.items()
        ),
    )


_ANY = (
    CurvatureUse(
        "noise_scale",
        "Gradient-noise scale: how many examples a mini-batch is worth having",
        (ReportedMetric("noise_scale", "Variance of examples' gradients over the squared gradient", "minimize"),),
    ),
    CurvatureUse(
        "spectrum",
        "Spectrum of the Hessian of the training loss",
        (
            ReportedMetric("hessian_top", "Its largest eigenvalue", "minimize"),
            ReportedMetric("hessian_trace", "Its trace", "minimize"),
        ),
    ),
)

CLASSIFIER_USES = (
    _laplace((*_LIKELIHOODS, *_CALIBRATION)),
    CurvatureUse("forgetting", "Elastic weight consolidation: what a second task leaves of the first", _MEMORIES),
    _saliency("accuracy", "Accuracy", "maximize"),
    *_ANY,
)
REGRESSOR_USES = (_laplace(_LIKELIHOODS), _saliency("mae", "Mean absolute error", "minimize"), *_ANY)
