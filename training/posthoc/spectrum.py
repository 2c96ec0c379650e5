"""How curved the loss is where training ended: the largest eigenvalue and the trace of its Hessian.

The Hessian is that of the mean loss of at most EXAMPLES examples of the training part, known by its products with vectors
(see `optim.precondition.spectrum`). The largest eigenvalue is found by Lanczos' method, begun again every few products
from the eigenvector so far, until it moves no more; the trace by random vectors of signs (Hutchinson, 1989).
"""

import torch
from torch import Generator, Tensor

from optim.precondition import spectrum as spectra
from optim.precondition.operations.products import HESSIAN, Product, joined, product_of
from training.curvature import batch_of
from training.posthoc.trained import Pieces, Trained, Unavailable, Values

EXAMPLES = 512
# Products in a piece, and pieces at most.
PRODUCTS, RESTARTS = 4, 32
# Between two pieces the eigenvalue moves by less than this share of itself where it has been found.
CLOSE = 1e-3
# Random vectors for the trace.
PROBES = 32
# How torch says that a function's slope has none of its own.
_UNKNOWN = "is not implemented"


def spectrum(trained: Trained) -> Pieces[Values]:
    """Return `hessian_top` and `hessian_trace`. Raise Unavailable where the network cannot be differentiated twice."""
    product, like = _product(trained)
    top = yield from _top(product, spectra.signs(trained.key(0), 1, like)[0])
    trace = yield from _trace(product, spectra.signs(trained.key(1), PROBES, like))
    return {"hessian_top": top, "hessian_trace": trace}


def _product(trained: Trained) -> tuple[Product, Tensor]:
    """Return the product with the Hessian, and a vector such as it multiplies."""
    order = Generator()
    order.set_state(trained.order)
    numbers = torch.randperm(len(trained.data.train), generator=order)[:EXAMPLES]
    batch = batch_of(trained.course.network, trained.data, (), trained.params, numbers)
    product, like = product_of(batch, HESSIAN), joined([param.detach() for param in trained.params], 0)
    try:
        product(torch.zeros_like(like))
    except RuntimeError as error:
        if _UNKNOWN not in str(error):
            raise
        raise Unavailable(f"the network cannot be differentiated twice: {str(error).splitlines()[0]}") from error
    return product, like


def _top(product: Product, start: Tensor) -> Pieces[float]:
    """Return the largest eigenvalue."""
    found = float("-inf")
    for _ in range(RESTARTS):
        values, vectors = spectra.largest(product, start, 1, PRODUCTS)
        before, found, start = found, float(values[0]), vectors[0]
        yield
        if abs(found - before) <= CLOSE * abs(found):
            break
    return found


def _trace(product: Product, probes: Tensor) -> Pieces[float]:
    """Return the trace as the mean over random vectors: one by one, for several at once cost networks of many positions more."""
    found = []
    for probe in probes:
        found.append(float((probe * product(probe)).sum()))
        yield
    return sum(found) / len(found)
