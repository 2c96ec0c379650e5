"""A network that tuneup can train: tuneup.toml beside this file registers it, study.yaml tunes its training.

The function is given the shape of one input (pictures: channels, height, width), how many outputs there must be, and the
options that the study names. The file may import what is installed, and nothing beside it.
"""

from torch import Tensor, nn


class Residual(nn.Module):
    """What a convolution changes about a picture. GroupNorm, because each example must be judged by itself."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.GroupNorm(groups, width), nn.ReLU(), nn.Conv2d(width, width, kernel_size=3, padding=1)
        )

    def forward(self, picture: Tensor) -> Tensor:
        changed: Tensor = self.change(picture)
        return picture + changed


def build(shape: tuple[int, int, int], outputs: int, *, width: int = 8, blocks: int = 1) -> nn.Module:
    channels, height, across = shape
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1),
        *(Residual(width, groups=4) for _ in range(blocks)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width * (height // 2) * (across // 2), outputs),
    )
