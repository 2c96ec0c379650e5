"""What theory says of wide two-layer networks, measured: `python -m benchmarks.wide_theory [--quick] [--json]`.

Steps to a training loss, the narrowest network for a validation loss, validation loss by training examples, and what the
distribution of inputs and the activation do to what it costs. Each slope is a power fitted through all runs, with its standard
error. Nothing is promised here: theory has bounds up to constants, and these are single tasks.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import torch

from benchmarks.promises import line
from benchmarks.wide_theory.answers import Answer
from benchmarks.wide_theory.costs import by_activation, by_inputs
from benchmarks.wide_theory.learning import narrowest, sample_complexity, time_to_loss
from benchmarks.wide_theory.sizes import SIZES, Size

QUESTIONS: Mapping[str, Callable[[Size], Answer]] = {
    "time": time_to_loss,
    "width": narrowest,
    "examples": sample_complexity,
    "inputs": by_inputs,
    "activation": by_activation,
}


def main(arguments: Sequence[str]) -> None:
    """Ask, print each answer, and with --json the line for programs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wide_theory", description=__doc__)
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="standard")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    parser.add_argument("--only", nargs="*", choices=QUESTIONS, default=list(QUESTIONS))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    answers = {}
    for name in given.only:
        began = time.perf_counter()
        answers[name] = QUESTIONS[name](SIZES[given.size])
        print(f"{answers[name]}\n({time.perf_counter() - began:.0f} s)\n", flush=True)
    if given.json:
        print(line("wide_theory", [], size=given.size, answers={name: _plain(each) for name, each in answers.items()}))


def _plain(answer: Answer) -> dict[str, object]:
    slopes = {name: None if slope is None else asdict(slope) for name, slope in answer.slopes.items()}
    return {"heads": answer.heads, "rows": answer.rows, "slopes": slopes}


if __name__ == "__main__":
    main(sys.argv[1:])
