"""Backbones that are one chain of named steps: each map that a halving follows is one of their outputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cnncli.errors import UsageError
from cnncli.nn.surgery import shapes_of, stride_of


class ChainBackbone(nn.Module):
    """RGB batch (N, 3, H, W), already normalised, to the last map of each stride, fine to coarse.

    `channels` and `strides` describe the maps. Parameters have the names that `network` gives them, below "network."
    `steps` are the paths of its parts in the order of their use; its other parts are not taken over. An input's
    shorter side has `least_size` px at least: a smaller one raises UsageError.
    """

    def __init__(self, name: str, network: nn.Module, steps: Sequence[str], least_size: int = 1):
        super().__init__()
        self.name = name
        self.least_size = least_size
        self.steps = tuple(steps)
        self.network = parts_of(network, steps)
        layers = [self.network.get_submodule(step) for step in steps]
        given = [shape for _, _, shape in shapes_of(self.network, layers)]
        last = {stride_of(shape): (step, shape[1]) for step, shape in zip(steps, given, strict=True)}
        self.strides = tuple(last)
        self.taps, self.channels = zip(*last.values(), strict=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.outputs(x, self.taps)

    def outputs(self, x: Tensor, steps: Sequence[str]) -> list[Tensor]:
        """What the named steps give, in the order of their use."""
        self._check_size(x)
        maps = []
        for step in self.steps:
            x = self.network.get_submodule(step)(x)
            if step in steps:
                maps.append(x)
        return maps

    @property
    def stages(self) -> list[nn.Module]:
        """Parts from input to output, each up to one of the maps; those without parameters are left out."""
        ends = [self.steps.index(tap) + 1 for tap in self.taps]
        spans = [self.steps[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        parts = [nn.Sequential(*map(self.network.get_submodule, span)) for span in spans]
        return [part for part in parts if any(True for _ in part.parameters())]

    def _check_size(self, x: Tensor) -> None:
        if torch.compiler.is_exporting():  # sizes may be symbols there
            return
        height, width = x.shape[2:]
        if min(height, width) < self.least_size:
            least = f"{self.least_size} x {self.least_size}"
            raise UsageError(
                f"{width} x {height} px are too few for {self.name}: give it inputs of {least} px at least"
            )


def parts_of(network: nn.Module, paths: Sequence[str]) -> nn.Sequential:
    """Parts of a network, with the names that they have in it."""
    tree = nn.Sequential()
    for path in paths:
        *parents, name = path.split(".")
        branch = tree
        for parent in parents:
            if parent not in dict(branch.named_children()):
                branch.add_module(parent, nn.Sequential())
            branch = branch.get_submodule(parent)
        branch.add_module(name, network.get_submodule(path))
    return tree
