"""What recipes report: after every step, and at the last one what is made of the curvature there, where that is asked for."""

from dataclasses import dataclass

from optim.catalog import Option


@dataclass(frozen=True, slots=True)
class ReportedMetric:
    """A number that a recipe reports, and the direction in which it is usually optimized."""

    name: str
    title: str
    goal: str


@dataclass(frozen=True, slots=True)
class CurvatureUse:
    """A use of curvature that `objective.curvature` may list; its metrics are reported with the last step alone.

    `options` may be given beside its name.
    """

    name: str
    title: str
    metrics: tuple[ReportedMetric, ...]
    options: tuple[Option, ...] = ()


STRENGTH = Option(
    "strength", "float", 100.0, 0.0, 1e9,
    low_open=True, title="lambda of elastic weight consolidation: how hard the first task is held on to",
)  # fmt: skip
SPARSITY = Option(
    "sparsity", "float", 0.8, 0.0, 1.0, low_open=True, high_open=True, title="Share of the weights that are set to 0"
)
# What is watched in every run of ours.
GAUGES = (
    ReportedMetric("grad_norm", "Norm of the gradient, a mean over steps of the epoch", "minimize"),
    ReportedMetric(
        "update_ratio", "Size of a step relative to the parameters, a mean over steps of the epoch", "minimize"
    ),
)

# What steps of sparse_sgd came to.
SPARSE_STEPS = (
    ReportedMetric("active_fraction", "Share of the neurons active for an example, a mean over the epoch", "minimize"),
    ReportedMetric("candidate_fraction", "Inner products computed for an example, by the neurons", "minimize"),
    ReportedMetric("refresh_rate", "Neurons looked at anew for all examples in the epoch, by all neurons", "minimize"),
    ReportedMetric("listed_steps", "Share of the epoch's steps that were taken with lists, or a tree", "maximize"),
    ReportedMetric("build_seconds", "Seconds that lists took to build since this attempt began", "minimize"),
    ReportedMetric("step_seconds", "Seconds of a step without building, a mean over the epoch", "minimize"),
    ReportedMetric(
        "input_spread", "sqrt(d lambda_max(E x x^T)) of the inputs: 1 where uniform on the sphere", "minimize"
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
            ReportedMetric(f"{way}_{measure}", f"{title} without most of the weights (sparsity), {which}", goal)
            for way, which in ways.items()
        ),
        (SPARSITY,),
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
            ReportedMetric("hessian_lowest", "The least eigenvalue that was found", "maximize"),
            ReportedMetric("hessian_negative", "What share of all curvature is downwards", "minimize"),
            ReportedMetric("hessian_rank", "Effective rank: of how many equal eigenvalues it might be", "maximize"),
            ReportedMetric("hessian_tail", "Share of eigenvalues over a hundredth of the largest in size", "minimize"),
        ),
    ),
)

CLASSIFIER_USES = (
    _laplace((*_LIKELIHOODS, *_CALIBRATION)),
    CurvatureUse(
        "forgetting", "Elastic weight consolidation: what a second task leaves of the first", _MEMORIES, (STRENGTH,)
    ),
    _saliency("accuracy", "Accuracy", "maximize"),
    *_ANY,
)
REGRESSOR_USES = (_laplace(_LIKELIHOODS), _saliency("mae", "Mean absolute error", "minimize"), *_ANY)
