"""Read by every Python process that has this folder on its path: switches on crash points and planted bugs, where asked.

Without the variables nothing is imported. A `sitecustomize` that this one hides is run all the same.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

hidden = PathFinder.find_spec("sitecustomize", [entry for entry in sys.path if Path(entry).resolve() != HERE])
if hidden is not None and hidden.loader is not None:
    hidden.loader.exec_module(importlib.util.module_from_spec(hidden))

if "TUNEUP_FAULTS_SEED" in os.environ or "TUNEUP_FAULTS_BUG" in os.environ or "TUNEUP_FAULTS_CRASH" in os.environ:
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from tests.faults.plant import install

    install(os.environ)
