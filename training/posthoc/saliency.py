"""Which weights matter: what remains of a trained network without most of them, chosen in three ways.

    saliency_i = F_ii theta_i^2 / 2

is by how much the loss grows without a weight, to second order, F being the diagonal of the Fisher information in the
place of the Hessian's (LeCun et al., Optimal brain damage, 1989; Theis et al., Faster gaze prediction with dense networks
and Fisher pruning, 2018). The least of all matrices of layers together are set to 0; biases are left alone, and nothing
is trained again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from optim.precondition import draws
from training.evaluation import evaluate
from training.posthoc import fisher
from training.posthoc.trained import Pieces, Trained, Values

SPARSITY = 0.8


def saliency(trained: Trained, *, sparsity: float = SPARSITY) -> Pieces[Values]:
    """Return how well the network does on the validation part with the least of its weights set to 0, this share of them.

    `pruned_*` by saliency, `pruned_magnitude_*` by size, `pruned_random_*` by chance; * is each measure of the task.
    Raise Unavailable where no layer is known.
    """
    params, data = trained.params, trained.data
    information = yield from fisher.diagonal(trained)
    ways = {
        "pruned": [own * param.square() / 2 for own, param in zip(information, params, strict=True)],
        "pruned_magnitude": [param.abs() for param in params],
        "pruned_random": [_chance(place, param) for place, param in enumerate(params)],
    }
    weights = [layer.places[0] for layer in trained.matrices]
    found: Values = {}
    for name, scores in ways.items():
        left = evaluate(trained.course.network, data, pruned(params, scores, weights, sparsity), data.val)
        found |= {f"{name}_{measure}": left[measure] for measure in data.task.measures}
        yield
    return found


def pruned(
    params: Sequence[Tensor], scores: Sequence[Tensor], places: Sequence[int], share: float = SPARSITY
) -> list[Tensor]:
    """Return parameters of which, among those at these places, the share with the least scores is 0."""
    together = torch.cat([scores[place].detach().flatten() for place in places])
    least = together.argsort()[: round(share * len(together))]
    kept = torch.ones_like(together, dtype=torch.bool)
    kept[least] = False
    found = [param.detach() for param in params]
    for place, part in zip(places, torch.split(kept, [params[place].numel() for place in places]), strict=True):
        found[place] = found[place] * part.reshape(found[place].shape)
    return found


def _chance(place: int, param: Tensor) -> Tensor:
    drawn = draws.uniform(torch.tensor(0, device=param.device), param.numel(), salt=place)
    return drawn.reshape(param.shape)
