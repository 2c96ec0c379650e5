"""Recommendations: which module a file of the standard library imports, given the others that it imports.

The users are the library's source files, the items are what they import. An example is a candidate and the bag of the
user's other items; its target says whether the user imports the candidate, too. For each item that is imported there is
one that is not, drawn by popularity to the power of 3/4 (as by Mikolov et al., Distributed Representations of Words and
Phrases and their Compositionality, 2013): else a popular item would always be a good guess. Both see the same bag, so its
size tells nothing. All examples of a user are in the same part of the split.
"""

import ast
from collections import Counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.examples import Data, InMemory
from training.data.library import parsed
from training.data.splitting import SPLIT_SEED, split_numbers
from training.tasks import CLASSIFICATION

# Hundreds of files that all import one module, and packages that not every installation has.
_WITHOUT = frozenset({"encodings", "idlelib", "tkinter", "turtledemo", "turtle", "lib2to3", "distutils", "ensurepip"})
_RAREST = 5  # an item is imported by so many users at least
_FEWEST = 3  # and a user has so many items at least
_POWER = 0.75
BAG = 24  # a bag holds so many items at most, those of the last names of the alphabet are left out
PADDING = 0


def imports(name: str) -> Data:
    """Return examples (n, 1 + BAG) of tokens, the candidate first, and their targets: 1 = imported, 0 = not."""
    users = [_imported(package, tree) for package, tree in parsed(without=_WITHOUT)]
    counts = Counter(item for user in users for item in user)
    items = sorted(item for item, count in counts.items() if count >= _RAREST)
    token = {item: number for number, item in enumerate(items, start=1)}
    baskets = [sorted(token[item] for item in user if item in token) for user in users]
    baskets = [basket for basket in baskets if len(basket) >= _FEWEST]
    popularity = np.array([0.0, *(float(counts[item]) for item in items)])
    draws = np.random.default_rng(SPLIT_SEED)
    examples = [_examples(basket, popularity, draws) for basket in baskets]
    train, val = (_together([examples[number] for number in part]) for part in split_numbers(len(examples), None))
    return Data(name, CLASSIFICATION, train, val, (1 + BAG,), outputs=2, vocabulary=len(popularity))


def _imported(package: str, tree: ast.Module) -> set[str]:
    """Return the modules that a file imports, by their whole names."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: max(0, package.count(".") + 2 - node.level)] if node.level else []
            # `from . import a, b` names modules of the package, all others name one module.
            ends = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*parents, end]) for end in ends}
    return found


def _examples(basket: list[int], popularity: NDArray[np.float64], draws: np.random.Generator) -> list[list[int]]:
    """Return a user's examples: one with each item as the candidate, each followed by one with an item it lacks."""
    weights = popularity**_POWER
    weights[basket] = 0.0
    lacking = draws.choice(len(weights), size=len(basket), p=weights / weights.sum())
    made = []
    for item, other in zip(basket, lacking.tolist(), strict=True):
        bag = [owned for owned in basket if owned != item][:BAG]
        bag += [PADDING] * (BAG - len(bag))
        made += [[item, *bag], [other, *bag]]
    return made


def _together(users: list[list[list[int]]]) -> InMemory:
    inputs: Tensor = torch.tensor([example for user in users for example in user])
    return InMemory(inputs, (torch.arange(len(inputs)) + 1) % 2)
