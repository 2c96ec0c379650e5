"""Bodies shown in the OpenAPI document; a test posts each of them."""

from fastapi.openapi.models import Example

from search.definition.examples import EXAMPLE_STUDIES, TRADEOFFS_EXTERNAL

_TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105  shown, and good for nothing

STUDIES = {name: Example(summary=name, value=study) for name, study in EXAMPLE_STUDIES.items()}
STUDIES["small-and-accurate"] = Example(summary="Several metrics and a constraint", value=TRADEOFFS_EXTERNAL)
EDITS = {
    "more trials": Example(summary="Raise the budget", value={"budget": {"trials": 200}}),
    "another name": Example(summary="Rename and label", value={"name": "digits-mlp-2", "labels": {"team": "vision"}}),
}
ASKS = {
    "one": Example(summary="One trial, with all that may be left out left out", value={}),
    "several": Example(
        summary="Four trials for a client that may ask again after a restart",
        value={"client_id": "laptop-1", "count": 4, "lease_seconds": 600},
    ),
}
GIVEN_TRIALS = {
    "a known good point": Example(summary="To be tried", value={"trials": [{"params": {"lr": 0.01, "warmup": 0.1}}]}),
    "finished trials": Example(
        summary="Results from elsewhere, which are not run again",
        value={
            "trials": [
                {"params": {"lr": 0.03, "warmup": 0.0}, "values": {"val_loss": 0.2}, "reason": "notebook of May"},
                {"params": {"lr": 1.0, "warmup": 0.0}, "state": "diverged"},
            ]
        },
    ),
}
TELLS = {
    "a result": Example(summary="Completed", value={"token": _TOKEN, "values": {"val_loss": 0.25}}),
    "as measured": Example(summary="Completed, with the values of its measurements", value={"token": _TOKEN}),
    "diverged": Example(
        summary="Unstable here", value={"token": _TOKEN, "state": "diverged", "reason": "loss is not finite"}
    ),
    "failed": Example(summary="It broke", value={"token": _TOKEN, "state": "failed", "reason": "KeyError: 'lr'"}),
}
MEASUREMENTS = {
    "two steps": Example(
        summary="Two steps at once",
        value={
            "token": _TOKEN,
            "measurements": [{"step": 1, "values": {"val_loss": 0.5}}, {"step": 2, "values": {"val_loss": 0.4}}],
        },
    ),
    "a sign of life": Example(summary="Only renew the lease", value={"token": _TOKEN, "measurements": []}),
}
RELEASES = {"give back": Example(summary="Somebody else may run it", value={"token": _TOKEN, "reason": "shutdown"})}
IMPORTS = {
    "optuna": Example(
        summary="Distributions as Optuna writes them",
        value={
            "format": "optuna",
            "source": {
                "lr": {
                    "name": "FloatDistribution",
                    "attributes": {"low": 1e-5, "high": 0.1, "log": True, "step": None},
                },
                "optimizer": {"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adam"]}},
            },
            "study": {"name": "from Optuna", "metrics": [{"name": "val_loss", "goal": "minimize"}]},
        },
    ),
    "wandb": Example(
        summary="A sweep, created at once",
        value={
            "format": "wandb",
            "source": {
                "method": "bayes",
                "metric": {"name": "val_loss", "goal": "minimize"},
                "parameters": {
                    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
                    "batch_size": {"values": [16, 32, 64]},
                },
                "early_terminate": {"type": "hyperband", "min_iter": 3},
                "run_cap": 50,
            },
            "create": True,
        },
    ),
}
