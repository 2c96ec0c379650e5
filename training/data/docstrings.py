"""Short English texts: docstrings of the standard library, each labelled with the area that its module belongs to."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from training.data.examples import Data, InMemory
from training.data.library import parsed
from training.data.splitting import split_in_memory
from training.tasks import CLASSIFICATION

# area -> its modules and packages; one that a Python version lacks is passed over
AREAS: Mapping[str, str] = MappingProxyType(
    {
        "concurrency": "asyncio concurrent multiprocessing threading queue selectors subprocess sched contextvars",
        "email": "email mailbox imaplib poplib smtplib",
        "files": "os pathlib posixpath ntpath genericpath shutil tempfile glob fnmatch filecmp fileinput zipfile tarfile "
        "gzip bz2 lzma io _pyio stat linecache",
        "formats": "json csv xml plistlib configparser tomllib html pickle pickletools shelve struct base64 quopri",
        "language": "ast inspect dis tokenize token typing importlib symtable opcode code codeop traceback types "
        "dataclasses enum abc contextlib pkgutil runpy compileall zipimport",
        "network": "http urllib xmlrpc ftplib ssl socket socketserver ipaddress wsgiref webbrowser",
        "numbers": "_pydecimal decimal fractions statistics random datetime _pydatetime calendar numbers colorsys "
        "zoneinfo heapq bisect",
        "testing": "unittest doctest pdb bdb trace timeit cProfile profile pstats tracemalloc",
    }
)
LENGTH = 48  # tokens of one text: longer ones are cut, shorter ones padded
VOCABULARY = 2000
PADDING, UNKNOWN = 0, 1
_SHORTEST = 4
_WORD = re.compile(r"[a-z][a-z_]*")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(name: str) -> Data:
    """Return the texts as (n, LENGTH) tokens, the most frequent word of the training part first, from 2."""
    texts = dict(_texts())
    numbers = torch.arange(len(texts))
    labels = np.array([list(AREAS).index(area) for area in texts.values()])
    train, val = split_in_memory(numbers, torch.as_tensor(labels), by=labels)
    words = list(texts)
    counts = Counter(word for number in train.inputs.tolist() for word in words[number])
    # Equally frequent words in the order of the alphabet: a set of words has no order of its own.
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: VOCABULARY - UNKNOWN - 1]
    token = {word: number for number, word in enumerate(frequent, start=UNKNOWN + 1)}
    tokens = torch.stack([_padded([token.get(word, UNKNOWN) for word in text]) for text in words])
    train, val = (InMemory(tokens[part.inputs], part.targets) for part in (train, val))
    return Data(name, CLASSIFICATION, train, val, (LENGTH,), outputs=len(AREAS), vocabulary=VOCABULARY)


def _texts() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (words, area) for each docstring of some length; one that was copied comes again."""
    for area, modules in AREAS.items():
        for _, tree in parsed(frozenset(modules.split())):
            for node in ast.walk(tree):
                text = ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None
                words = tuple(_WORD.findall((text or "").lower())[:LENGTH])
                if len(words) >= _SHORTEST:
                    yield words, area


def _padded(tokens: list[int]) -> Tensor:
    return torch.tensor(tokens + [PADDING] * (LENGTH - len(tokens)))
