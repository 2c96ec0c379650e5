"""Fit a polynomial to noisy points by stochastic gradient descent: a command that tuneup can tune.

It reads one JSON line from standard input, writes JSON lines to standard output, writes checkpoints, and goes on from
one as if it had never been interrupted. Plain Python; docs/objectives.md describes each line.
"""

import json
import math
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

EVERY = 5  # steps between checkpoints
KEPT = 2


def main() -> None:
    told = json.loads(sys.stdin.readline())
    orders: list[dict[str, Any]] = []
    threading.Thread(target=listen, args=(orders,), daemon=True).start()
    params, options = told["params"], told["options"]
    state = resumed(told["resume"]) or fresh(told["seed"], options.get("degree", 3))
    points, last = data(), options.get("steps", 60)
    while state["step"] < last:
        loss = epoch(state, points, rate=params["rate"], momentum=params["momentum"])
        if not math.isfinite(loss):
            say({"outcome": "diverged", "reason": f"the loss is {loss} at step {state['step']}"})
            return
        say({"step": state["step"], "values": {"loss": loss}})
        stop = next((order for order in orders if order["stop"]), None)
        if state["step"] < last and (state["step"] % EVERY == 0 or (stop and stop.get("checkpoint"))):
            save(state, told)
        if stop:
            return
        time.sleep(options.get("pause", 0.0))


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def listen(orders: list[dict[str, Any]]) -> None:
    orders.extend(map(json.loads, sys.stdin))


def data() -> list[tuple[float, float]]:
    draw = random.Random(0)
    xs = [draw.uniform(-1, 1) for _ in range(64)]
    return [(x, 1 - 2 * x + 3 * x**3 + draw.gauss(0, 0.1)) for x in xs]


def fresh(seed: int, degree: int) -> dict[str, Any]:
    draw = random.Random(seed)
    weights = [draw.gauss(0, 0.1) for _ in range(degree + 1)]
    return {"step": 0, "weights": weights, "speeds": [0.0] * len(weights), "random": draw.getstate()}


def epoch(state: dict[str, Any], points: list[tuple[float, float]], *, rate: float, momentum: float) -> float:
    """Take one pass over the points in a fresh order; return the mean squared error after it."""
    draw = random.Random()
    version, words, gauss = state["random"]
    draw.setstate((version, tuple(words), gauss))
    weights, speeds = state["weights"], state["speeds"]
    for x, y in draw.sample(points, len(points)):
        error = value(weights, x) - y
        for power in range(len(weights)):
            speeds[power] = momentum * speeds[power] - rate * error * x**power
            weights[power] += speeds[power]
    state |= {"step": state["step"] + 1, "random": draw.getstate()}
    errors = [value(weights, x) - y for x, y in points]
    # Not `error ** 2`: where a float outgrows its range, a power raises OverflowError and a product is infinite.
    return sum(error * error for error in errors) / len(points)


def value(weights: list[float], x: float) -> float:
    return sum(weight * x**power for power, weight in enumerate(weights))


def save(state: dict[str, Any], told: dict[str, Any]) -> None:
    """Write a checkpoint whole, say so, and remove our older ones. No other attempt writes a file of this name."""
    if told["checkpoint"] is None:
        return
    folder, attempt = Path(told["checkpoint"]), told["attempt"]
    path = folder / f"{attempt}-{state['step']}.json"
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    say({"checkpoint": str(path), "step": state["step"]})
    ours = sorted(folder.glob(f"{attempt}-*.json"), key=lambda found: int(found.stem.split("-")[1]))
    for old in ours[:-KEPT]:
        old.unlink()


def resumed(checkpoint: dict[str, Any] | None) -> dict[str, Any] | None:
    """Read the checkpoint that we are offered; it is whole and of this trial."""
    if checkpoint is None:
        return None
    found: dict[str, Any] = json.loads(Path(checkpoint["path"]).read_text())
    return found


if __name__ == "__main__":
    main()
