"""Other rules by which activation functions let a signal back, for all that a network computes in a block.

Functions are replaced where they are called, so that layers which call them without a module have the rules too.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]
RELUS: frozenset[Function] = frozenset([F.relu, torch.relu, Tensor.relu, F.relu6, F.hardtanh])
ACTIVATIONS: frozenset[Function] = RELUS | frozenset([
    F.silu, F.prelu, torch.prelu, F.leaky_relu, F.elu, F.gelu, F.hardswish, F.mish, F.selu, torch.selu, F.celu,
    torch.celu, F.softplus,
])  # fmt: skip
CLAMPS = frozenset([torch.clamp, Tensor.clamp])


class BackwardRule(TorchFunctionMode):
    """`with Rule(): ...`: the functions of `replaced` compute as ever, and give back what `back` says."""

    replaced: ClassVar[frozenset[Function]]

    @abstractmethod
    def back(self, taken: Tensor, signal: Tensor) -> Tensor:
        """What goes back to the input `taken` of a function, of the signal that came back to its output."""

    def __torch_function__(
        self, func: Function, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func not in self.replaced:
            return self.otherwise(func, args, named)
        named.pop("inplace", None)  # the input is read once more on the way back
        taken = args[0] if args else named.pop("input")
        return _Replaced.apply(taken, lambda x: func(x, *args[1:], **named), self.back)

    def otherwise(self, func: Function, args: Sequence[Any], named: dict[str, Any]) -> Any:
        return func(*args, **named)


class Rectified(BackwardRule):
    """Activations pass on the positive part of the signal, wherever it arrives: the deconvnet's rule.

    With max-pools, whose gradient goes to the places of the maxima, and convolutions, whose gradient is the
    transposed convolution, a backward pass is then a deconvnet.

    Sources: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", sec. 2.1; Simonyan, Vedaldi
    & Zisserman 2014, "Deep Inside Convolutional Networks", sec. 4.
    """

    replaced = ACTIVATIONS

    def back(self, taken: Tensor, signal: Tensor) -> Tensor:
        return signal.clamp(min=0)

    def otherwise(self, func: Function, args: Sequence[Any], named: dict[str, Any]) -> Any:
        """The negative part of an activation that is written as a sum of two is no way back."""
        given = func(*args, **named)
        return given.detach() if func in CLAMPS and len(args) == 1 and named == {"max": 0} else given


class Redirected(BackwardRule):
    """A ReLU that is closed at all places passes on what would open it, so that a silent channel can be woken.

    Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill, in whose code it is `redirected_relu`.
    """

    replaced = RELUS

    def back(self, taken: Tensor, signal: Tensor) -> Tensor:
        through = signal * (taken > 0)
        return through if through.any() else signal.clamp(min=0)


class _Replaced(torch.autograd.Function):
    """A function of one map with another way back."""

    @staticmethod
    def forward(context: Any, taken: Tensor, function: Function, back: Function) -> Tensor:
        context.save_for_backward(taken)
        context.back = back
        return function(taken)

    @staticmethod
    def backward(context: Any, *signals: Tensor) -> tuple[Any, ...]:
        return context.back(context.saved_tensors[0], signals[0]), None, None
