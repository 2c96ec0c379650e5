"""(c) Ray Tune, one trial per core: run by a Python that has `ray`, as `python -m benchmarks.population_ray WIDTH TRIALS EPOCHS`.

Prints the trials a second, counted from the end of the first trial on each core, so that Ray's start and that of its
processes are not in it. Without Ray an ImportError ends it.
"""

import importlib
import os
import sys
import tempfile
import time
from typing import Any

import torch

from benchmarks.plain_torch import Run, Values, train
from benchmarks.population_trials import SPACE

QUIET = {"RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def space(tune: Any) -> dict[str, Any]:  # noqa: ANN401 - ray.tune
    """Return our space in Ray's words; it knows no conditions, so a momentum is drawn for all."""
    optimizer, lr, momentum = SPACE["optimizer"], SPACE["lr"], SPACE["momentum"]
    return {
        "optimizer": tune.choice(optimizer["choices"]),
        "lr": tune.loguniform(lr["low"], lr["high"]),
        "momentum": tune.uniform(momentum["low"], momentum["high"]),
        "seed": tune.randint(0, 2**31),
    }


def main() -> None:
    """Train and print."""
    width, trials, epochs = map(int, sys.argv[1:4])
    os.environ.update(QUIET)
    ray, tune = importlib.import_module("ray"), importlib.import_module("ray.tune")

    def run(config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        params = {name: value for name, value in config.items() if name != "seed"}

        def report(_: int, values: Values) -> bool:
            tune.report({**values, "at": time.monotonic()})
            return False

        train(Run([width], epochs, params, seed=config["seed"]), report)

    cores = os.cpu_count() or 1
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory(prefix="tuneup-bench-ray-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(run, {"cpu": 1}),
            param_space=space(tune),
            tune_config=tune.TuneConfig(
                num_samples=trials, metric="val_loss", mode="min", max_concurrent_trials=cores, reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = list(tuner.fit())
    ray.shutdown()
    failed = sum(result.error is not None for result in results)
    if failed:
        sys.exit(f"{failed} of {trials} trials failed")
    ends = sorted(result.metrics["at"] for result in results)
    print((trials - cores) / (ends[-1] - ends[cores - 1]))


if __name__ == "__main__":
    main()
