"""Names of optimizers that tests go through."""

from optim import catalog
from optim.build import build_rule

# Those that step by gradients alone; the others ask about the mini-batch, and have tests of their own.
STEPPED = sorted(name for name in catalog.OPTIMIZERS if not build_rule(name).looks)
