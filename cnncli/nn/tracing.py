"""What a network computes for one input: its operations in order, what each takes, and what it reads of that.

The network runs on torch's "meta" device, where tensors have shapes and no numbers, so that any of them takes less
than a second.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cnncli.nn.axes import All, Axis
from cnncli.nn.operation_axes import axes_of

INPUT = -1  # the number of the network's input among its operations
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """One of the maps that an operation takes; `rows` and `columns` say which of its cells each output cell reads."""

    operation: int  # its number, or INPUT
    shape: Shape
    rows: Axis
    columns: Axis


@dataclass(frozen=True)
class Operation:
    """One step of a forward pass. `kind` is torch's name of it; `module` the path of the innermost layer around it."""

    number: int
    kind: str
    module: str
    sources: tuple[Source, ...]
    shape: Shape  # of its output
    arguments: tuple[Any, ...]  # shapes in the place of tensors
    parameters: tuple[str, ...]  # names of the learned ones that no operation before it used

    @property
    def reads_all(self) -> bool:
        return any(isinstance(axis, All) for source in self.sources for axis in (source.rows, source.columns))


def trace(network: nn.Module, shape: Shape) -> list[Operation]:
    """The operations on an input of `shape` (C, H, W) that the output depends on or not, in the order of their use.

    Errors of a network that can't take such an input are its own.
    """
    try:
        return _traced(network.to("meta"), torch.empty(1, *shape, device="meta"))
    except NotImplementedError:  # what it does next depends on numbers: boxes that are sorted out
        return _traced(network.to_empty(device="cpu"), torch.zeros(1, *shape))


def _traced(network: nn.Module, images: Tensor) -> list[Operation]:
    network = network.eval()
    with torch.no_grad(), _paths(network) as path, _Recorder(network, images, path) as recorder:
        network(images)
    return recorder.operations


@contextmanager
def _paths(network: nn.Module) -> Iterator[Callable[[], str]]:
    """A function that tells the path of the innermost module that runs."""
    stack = [""]
    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: stack.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: _drop(stack), always_call=True))
    try:
        yield lambda: stack[-1]
    finally:
        for hook in hooks:
            hook.remove()


def _drop(stack: list[str]) -> None:
    stack.pop()


class _Recorder(TorchDispatchMode):
    """Writes down every operation on what comes from the input; operations on parameters alone are part of these."""

    def __init__(self, network: nn.Module, images: Tensor, path: Callable[[], str]):
        super().__init__()
        self.operations: list[Operation] = []
        self._path = path
        self._producers: dict[int, int] = {id(images): INPUT}
        self._learned: dict[int, frozenset[str]] = {
            id(parameter): frozenset([name]) for name, parameter in network.named_parameters()
        }
        self._used: set[str] = set()
        self._kept: list[Any] = [images]  # so that no address is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        outputs = list(_tensors(given))
        taken = list(_tensors(args))
        self._kept += [*taken, *outputs]
        learned = frozenset().union(*(self._learned.get(id(tensor), ()) for tensor in taken))
        sources = [tensor for tensor in taken if id(tensor) in self._producers]
        if sources and outputs:
            self._add(func.overloadpacket.__name__, args, sources, outputs[0], learned)
            self._producers.update(dict.fromkeys(map(id, outputs), len(self.operations) - 1))
        else:
            self._learned.update(dict.fromkeys(map(id, outputs), learned))
        return given

    def _add(
        self, kind: str, args: Sequence[Any], sources: Sequence[Tensor], given: Tensor, learned: frozenset[str]
    ) -> None:
        arguments = tuple(_described(argument) for argument in args)
        shape = tuple(given.shape)
        read = [
            Source(
                self._producers[id(tensor)], tuple(tensor.shape), *axes_of(kind, arguments, tuple(tensor.shape), shape)
            )
            for tensor in sources
        ]
        first_used = tuple(sorted(learned - self._used))
        self._used |= learned
        number = len(self.operations)
        self.operations.append(
            Operation(number, kind.rstrip("_"), self._path(), tuple(read), shape, arguments, first_used)
        )


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _described(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else tuple(value) if isinstance(value, list) else value
