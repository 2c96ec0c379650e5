"""A wide two-layer network in a program of your own: trained, written with the sphere of its data, used on new inputs.

python examples/wide/program.py
"""

import tempfile
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from optim.sparse.activations import ACTIVATIONS
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Layer
from optim.sparse.network import TwoLayer, gaussian
from optim.sparse.sgd import Batch, Model
from optim.sparse.sphere import Sphere
from optim.sparse.thresholds import by_width
from optim.sparse.trainer import SparseSgd
from optim.sparse.tuner import Limits

WIDTH, EPOCHS, BATCH, LR = 4096, 4, 32, 20.0
NETWORK = TwoLayer(ACTIVATIONS["shifted_relu"], by_width(0.4, WIDTH))


def examples(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs (n, 16) far from the sphere, and which side of a plane they lie on, 1 or -1 (n, 1)."""
    inputs = 5.0 + 3.0 * torch.randn(count, 16, generator=Generator().manual_seed(seed))
    return inputs, (inputs[:, :4].sum(dim=1, keepdim=True) - 20.0).sign()


def train(inputs: Tensor, sides: Tensor) -> tuple[Model, Sphere]:
    """Return the network as trained by the logistic loss, and the sphere that its inputs were brought to."""
    generator = Generator().manual_seed(0)
    sphere = Sphere.of(inputs, centered=True)
    points, _ = sphere.project(inputs)
    weights, signs = gaussian(generator, WIDTH, points.shape[1], 1)
    model = Model(NETWORK, Layer(weights, points.contiguous(), signs, torch.zeros(WIDTH)))
    steps = EPOCHS * -(-len(inputs) // BATCH)
    trainer = SparseSgd(model, kernels(), limits=Limits(steps=steps))
    for _ in range(EPOCHS):
        for numbers in torch.split(torch.randperm(len(inputs), generator=generator), BATCH):
            own = sides[numbers]

            def slope(outputs: Tensor, own: Tensor = own) -> tuple[Tensor, Tensor]:
                margins = own * outputs
                return softplus(-margins)[:, 0], -own * torch.sigmoid(-margins)

            trainer.step(Batch(numbers, slope, LR))
    return model, sphere


def write(path: Path, model: Model, sphere: Sphere) -> None:
    """Keep what predictions take: a network without its sphere is of no use."""
    torch.save({"weights": model.weights, "signs": model.layer.signs, "center": sphere.center}, path)


def predict(path: Path, inputs: Tensor) -> Tensor:
    """Return what the network says of new inputs (n, 16), as (n, 1)."""
    kept = torch.load(path, weights_only=True)
    points, _ = Sphere(kept["center"]).project(inputs)
    return NETWORK.outputs(kept["weights"], kept["signs"], points)


def surest(path: Path, inputs: Tensor) -> Tensor:
    """Return of these inputs the one that the network is surest of (1, 16), brought back from the sphere."""
    sphere = Sphere(torch.load(path, weights_only=True)["center"])
    points, lengths = sphere.project(inputs)
    best = predict(path, inputs)[:, 0].abs().argmax().unsqueeze(0)
    return sphere.restore(points[best], lengths[best])


def main() -> float:
    """Return the share of new inputs whose side is found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pt"
        write(path, *train(*examples(4000, seed=1)))
        inputs, sides = examples(1000, seed=2)
        return (predict(path, inputs).sign() == sides).float().mean().item()


if __name__ == "__main__":
    print(f"{main():.1%} of new inputs are put on their side")
