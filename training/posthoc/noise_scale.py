"""How many examples a mini-batch is worth having where training ended: the gradient-noise scale of the training part.

    B = tr(Sigma) / |G|^2

of the mean G and the covariance Sigma of all its examples' gradients, exactly (see `optim.precondition.noise`), over the
parameters of layers that are known.
"""

import torch
from torch import Tensor

from optim.precondition import noise
from optim.precondition.batch import EMPIRICAL, Batch
from optim.precondition.modules.kinds import per_example
from training.curvature import batch_of
from training.posthoc.trained import Pieces, Trained, Unavailable, Values, blocks


def noise_scale(trained: Trained) -> Pieces[Values]:
    """Return `noise_scale`, in examples. Raise Unavailable where no layer is known."""
    params, data, layers = trained.params, trained.data, trained.layers
    size = max(1, sum(params[place].numel() for layer in layers for place in layer.places))
    if not layers:
        raise Unavailable("the network has no layer that is known")
    found: noise.Moments | None = None
    for numbers in blocks(data, size):
        grads = _rows(batch_of(trained.course.network, data, layers, params, numbers))
        new = noise.moments(grads)
        found = new if found is None else noise.together(found, new)
        yield
    return {} if found is None else {"noise_scale": float(noise.of_all(found).scale)}


def _rows(batch: Batch) -> Tensor:
    """Return the gradients of single examples, rows (n, d), float64."""
    seen = batch.seen(EMPIRICAL, key=torch.tensor(0))
    parts = [part.squeeze(0).flatten(1) for each in seen for part in per_example(each)]
    return torch.cat(parts, dim=1).detach().double()
