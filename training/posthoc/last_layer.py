"""The curvature of a network's last layer over its training part, and how far it leaves the outputs uncertain.

The curvature is N s B (x) A, of Kronecker factors A (G, d, d) of inputs and B (G, o, o) of slopes; with a prior precision
delta its inverse is the covariance of the layer's parameters. In the eigenbases of A and B it is diagonal, so that one
decomposition serves any delta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optim.precondition.extension.tape import Tape
from optim.precondition.layers import Seen
from optim.precondition.matrices import kronecker
from optim.precondition.modules.kinds import MATRIX
from training.curvature import batch_of
from training.posthoc.fisher import SAMPLES, source_of
from training.posthoc.trained import Pieces, Trained, blocks


@dataclass(frozen=True, slots=True)
class Curvature:
    """Eigenvectors of both factors, by columns, and the eigenvalues (G, o, d) of the whole; float64."""

    inputs: Tensor
    slopes: Tensor
    values: Tensor


def curvature(trained: Trained, *, scale: float = 1.0) -> Pieces[Curvature]:
    """Return the curvature of the loss, summed over the training part and times `scale`.

    Raise Unavailable where no layer with a matrix is known.
    """
    last, data = trained.matrices[-1], trained.data
    sums: list[Tensor] = []
    for number, numbers in enumerate(blocks(data)):
        batch = batch_of(trained.course.network, data, [last], trained.params, numbers)
        (seen,) = batch.seen(source_of(trained), key=trained.key(number), samples=SAMPLES)
        new = [factor.detach().double() * len(numbers) for factor in kronecker.estimate(seen)]
        sums = [old + own for old, own in zip(sums, new, strict=True)] if sums else new
        yield
    (inputs, columns), (slopes, rows) = (torch.linalg.eigh(factor / len(data.train)) for factor in sums)
    values = slopes.clamp(min=0).unsqueeze(-1) * inputs.clamp(min=0).unsqueeze(-2)
    return Curvature(columns, rows, scale * len(data.train) * values)


def variances(trained: Trained, known: Curvature, inputs: Tensor, precisions: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return outputs (n, k) for inputs (n, ...), and their variances with each prior precision (precisions, n, k)."""
    outputs, seen = _slopes_of_outputs(trained, inputs)
    kind = MATRIX[seen.layer.kind]
    columns = kind.columns(seen).double() @ known.inputs.unsqueeze(-3)  # (G, n, t, d)
    rows = kind.rows(seen).double() @ known.slopes.unsqueeze(-3)  # (k, G, n, t, o)
    found = [_spread(columns, rows, 1 / (known.values + precision)) for precision in precisions]
    return outputs, torch.stack(found)


def _spread(columns: Tensor, rows: Tensor, covariance: Tensor) -> Tensor:
    """Return the variances (n, k) of outputs whose slopes are rows and columns, the covariance (G, o, d) being diagonal."""
    if columns.shape[-2] == 1:  # the square of an outer product is that of squares
        weighed = columns.squeeze(-2).square() @ covariance.mT  # (G, n, o)
        return torch.einsum("gno,kgno->nk", weighed, rows.squeeze(-2).square())
    return torch.einsum("god,kgnod->nk", covariance, (rows.mT @ columns).square())


def _slopes_of_outputs(trained: Trained, inputs: Tensor) -> tuple[Tensor, Seen]:
    """Return outputs (n, k), float64, and what is seen of the last layer: slopes of each output by what it gave."""
    last = trained.matrices[-1]
    with torch.enable_grad(), Tape(trained.params) as tape:
        outputs = trained.course.network.apply(trained.params, inputs)
    call = next(call for call in tape.calls if call.layer.places == last.places)
    slopes = [torch.autograd.grad(each.sum(), call.edge, retain_graph=True)[0] for each in outputs.unbind(dim=1)]
    weights = torch.full((len(inputs),), 1 / len(inputs), dtype=torch.float64, device=inputs.device)
    return outputs.detach().double(), Seen(call.layer, call.inputs, torch.stack(slopes), weights)
