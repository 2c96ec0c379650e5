"""How curved the loss is where training ended: the largest eigenvalue and the trace of its Hessian, and how its d eigenvalues lie.

The Hessian is that of the mean loss of at most EXAMPLES examples of the training part, known by its products with vectors
(see `optim.precondition.spectrum`). The largest eigenvalue is found by Lanczos' method, begun again every few products
from the eigenvector so far, until it moves no more; the trace by random vectors of signs (Hutchinson, 1989).

Of the density of eigenvalues, which stochastic Lanczos quadrature gives as nodes with weights, what is reported are sums

    lowest     the least node
    negative   sum over l < 0 of |l| / sum of |l|      what share of all curvature is downwards
    rank       (sum of |l|)^2 / sum of l^2             of how many equal eigenvalues it might be: 1 to d
    tail       how many |l| > TAIL max |l|, of d       the share of directions that are curved to speak of

since a measurement is a number, and each of these can be compared between networks of any size.
"""

import torch
from torch import Generator, Tensor

from optim.precondition import spectrum as spectra
from optim.precondition.batch import UNKNOWN
from optim.precondition.operations.products import HESSIAN, Product, joined, product_of
from optim.precondition.spectrum import Quadrature
from training.curvature import batch_of
from training.posthoc.trained import Pieces, Trained, Unavailable, Values

EXAMPLES = 512
# Products in a piece, and pieces at most.
PRODUCTS, RESTARTS = 4, 32
# Between two pieces the eigenvalue moves by less than this share of itself where it has been found.
CLOSE = 1e-3
# Random vectors for the trace.
PROBES = 32
# For the density: random vectors, and products with each.
VECTORS, DEPTH = 8, 24
# An eigenvalue counts that is more than this share of the largest in size.
TAIL = 0.01


def spectrum(trained: Trained) -> Pieces[Values]:
    """Return `hessian_top`, `hessian_trace`, and of the density `hessian_lowest` and so on.

    Raise Unavailable where the network cannot be differentiated twice.
    """
    product, like = _product(trained)
    top = yield from _top(product, spectra.signs(trained.key(0), 1, like)[0])
    trace = yield from _trace(product, spectra.signs(trained.key(1), PROBES, like))
    nodes = yield from _nodes(product, spectra.signs(trained.key(2), VECTORS, like))
    return {"hessian_top": top, "hessian_trace": trace, **summary(nodes, len(like))}


def summary(nodes: Quadrature, dimensions: int) -> Values:
    """Return what the density of so many eigenvalues comes to; all 0 but the lowest where none is but 0."""
    weights, sizes = nodes.weights / len(nodes.weights), nodes.nodes.abs()
    whole, squares = float((weights * sizes).sum()), float((weights * sizes.square()).sum())
    downwards = float((weights * sizes)[nodes.nodes < 0].sum())
    return {
        "hessian_lowest": float(nodes.nodes.min()),
        "hessian_negative": downwards / whole if whole else 0.0,
        "hessian_rank": dimensions * whole**2 / squares if squares else 0.0,
        "hessian_tail": float(weights[sizes > TAIL * sizes.max()].sum()),
    }


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
        if UNKNOWN not in str(error):
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


def _nodes(product: Product, probes: Tensor) -> Pieces[Quadrature]:
    """Return the nodes of all random vectors, of which each is multiplied by itself, one product in a piece."""
    found = []
    for probe in probes:
        for seen in spectra.growing(product, probe, DEPTH):
            last = seen
            yield
        found.append(spectra.nodes_of(last))
    return Quadrature(torch.stack([each.nodes for each in found]), torch.stack([each.weights for each in found]))


def _trace(product: Product, probes: Tensor) -> Pieces[float]:
    """Return the trace as the mean over random vectors: one by one, for several at once cost networks of many positions more."""
    found = []
    for probe in probes:
        found.append(float((probe * product(probe)).sum()))
        yield
    return sum(found) / len(found)
