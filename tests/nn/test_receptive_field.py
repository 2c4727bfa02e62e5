"""Receptive fields against autograd: the pixels of the input that a cell has a gradient of."""

import pytest
import torch
from torch import Tensor, nn

from cnncli.catalog import HEADS, resolve
from cnncli.nn.assemble import build_backbone, classifier, default_head
from cnncli.nn.receptive_field import receptive_fields, window
from cnncli.nn.surgery import ACTIVATIONS
from cnncli.nn.tracing import trace


class Dilated(nn.Module):
    """Asymmetric padding, dilation, transposed layers with gaps, both upsamplings, a branch, a shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 3, padding=4, dilation=4)
        self.narrow = nn.Conv2d(4, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1)
        self.sparse_up = nn.ConvTranspose2d(4, 4, 3, stride=3, padding=2, dilation=2)
        self.shuffle = nn.PixelShuffle(2)
        self.last = nn.Conv2d(1, 4, (3, 5), padding=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(nn.functional.pad(x, (0, 1, 0, 1)))
        x = self.wide(x) + self.narrow(x)
        x = nn.functional.interpolate(self.up(x), scale_factor=0.75, mode="bilinear")
        x = nn.functional.interpolate(self.sparse_up(x), scale_factor=1.5, mode="nearest")
        return self.last(self.shuffle(x))


NETWORKS = {
    "vgg11": lambda: classifier("vgg11", default_head("vgg11"), 10),
    "resnet18": lambda: classifier("resnet18", default_head("resnet18"), 10),
    "googlenet": lambda: classifier("googlenet", default_head("googlenet"), 10),
    "same padding": lambda: build_backbone("efficientnet_lite0"),
    "dilated": lambda: build_backbone("mobilenet_v2", output_stride=8),
    "anti-aliased": lambda: build_backbone("resnet18", antialias=True),
    "transposed": lambda: resolve(HEADS["segment"]["fcn8"])("vgg11", {}, 5),
    "all kinds": Dilated,
}
SIDE = 96


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_are_where_the_gradient_is(name: str) -> None:
    torch.manual_seed(0)
    network = plain(NETWORKS[name]().double().eval())
    given = outputs_of_leaves(network)
    image = torch.ones(1, 3, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    network(image)
    operations = trace(NETWORKS[name](), (3, SIDE, SIDE))
    last = {operation.module: operation for operation in operations}  # of a layer that pads by itself
    known = [operation for module, operation in last.items() if module in given]
    assert len(known) >= 5
    fields = receptive_fields(operations, [operation.number for operation in known])
    for operation in known:
        maps = given[operation.module]
        assert tuple(maps.shape) == operation.shape
        for cell in cells_of(maps):
            seen = touched(image, maps, cell)
            read = window(operations, operation.number, cell)
            assert seen == read, operation
            for axis, (first, end) in enumerate(read):
                size = fields[operation.number].size[axis]
                assert end - first + 1 <= size  # the largest of all cells, padding counted


def plain(network: nn.Module) -> nn.Module:
    """Every tap with the same positive weight, no rectifier, means in the place of maxima: no gradient vanishes."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, (*ACTIVATIONS, nn.Dropout)):
                setattr(parent, name, nn.Identity())
            elif isinstance(layer, nn.MaxPool2d):
                pool = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
                setattr(parent, name, pool)
            elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
    return network


def outputs_of_leaves(network: nn.Module) -> dict[str, Tensor]:
    """Filled by a forward pass: what each layer without parts gives, of those that run once."""
    given: dict[str, Tensor] = {}
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.PixelShuffle)
    for name, layer in network.named_modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda layer, taken, out, name=name: given.__setitem__(name, out))
    return given


def cells_of(maps: Tensor) -> list[tuple[int, int]]:
    rows, columns = maps.shape[2:]
    return [(rows // 2, columns // 2), (0, columns - 1), (rows // 2 + 1 if rows > 2 else 0, columns // 3)]


def touched(image: Tensor, maps: Tensor, cell: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """First and last row, first and last column with a gradient."""
    (gradient,) = torch.autograd.grad(maps[0, :, cell[0], cell[1]].sum(), image, retain_graph=True)
    marked = gradient[0].abs().sum(0) > 0
    found = []
    for axis in (1, 0):
        places = marked.any(axis).nonzero().flatten()
        found.append((int(places[0]), int(places[-1])))
    return tuple(found)


def test_a_whole_map_is_seen_behind_a_mean() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    operations = trace(network, (3, 20, 20))
    fields = receptive_fields(operations, [0, len(operations) - 1])
    assert fields[0].size == (3, 3)
    assert not fields[0].sees_all
    assert fields[len(operations) - 1].sees_all


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_layers_see_as_many_cells_as_kernels_overlap(kernel: int, stride: int) -> None:
    operations = trace(nn.ConvTranspose2d(1, 1, kernel, stride), (1, 16, 16))
    assert receptive_fields(operations, [0])[0].size == (-(-kernel // stride),) * 2


def test_a_chain_sees_what_the_formula_says() -> None:
    """r + (k - 1) d j of Araujo et al. 2019, away from the edges of the input."""
    layers = [(3, 1, 1), (3, 2, 1), (5, 1, 2), (2, 2, 1), (3, 1, 4)]  # kernel, stride, dilation
    network = nn.Sequential(*(nn.Conv2d(3, 3, kernel, stride, dilation=gap) for kernel, stride, gap in layers))
    size, jump, expected = 1, 1, []
    for kernel, stride, gap in layers:
        size, jump = size + (kernel - 1) * gap * jump, jump * stride
        expected.append(((size, size), (jump, jump)))
    fields = receptive_fields(trace(network, (3, 200, 200)), range(5))
    assert [(field.size, field.jump) for field in fields.values()] == expected
