"""Which cells of its input each kind of torch's operations reads; a tensor's last two axes are rows and columns."""

from collections.abc import Callable, Sequence
from typing import Any

from cnncli.nn.axes import SAME, All, Axis, Bins, Linear, Nearest, Repeated, Taps, TransposedTaps

Shape = tuple[int, ...]
Axes = tuple[Axis, Axis]
Rule = Callable[[Sequence[Any], Shape, Shape], Axes]  # arguments, the shape taken and the shape given

POINTWISE = frozenset([
    "relu", "relu_", "relu6", "silu", "silu_", "gelu", "hardtanh", "hardtanh_", "hardsigmoid", "hardswish",
    "hardswish_", "leaky_relu", "leaky_relu_", "elu", "prelu", "sigmoid", "sigmoid_", "tanh", "tanh_",
    "softplus", "exp", "log", "sqrt", "neg", "abs", "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_",
    "pow", "clamp", "clamp_", "clamp_min", "maximum", "minimum", "where", "threshold", "rsub", "cat", "clone",
    "detach", "alias", "dropout", "native_dropout", "_to_copy", "expand", "contiguous", "flip",
])  # fmt: skip
RESHAPES = frozenset([
    "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "select", "split", "avg_pool3d",
])  # fmt: skip


def axes_of(kind: str, arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    """How the rows and columns of `given` read those of `taken`; all of it where that is not known better."""
    if len(taken) < 2 or len(given) < 2:
        return All(taken[-2] if len(taken) > 1 else 1), All(taken[-1] if taken else 1)
    rule = RULES.get(kind)
    if rule is not None:
        return rule(arguments, taken, given)
    if kind in POINTWISE:
        return _broadcast(taken[-2], given[-2]), _broadcast(taken[-1], given[-1])
    if kind in RESHAPES and taken[-2:] == given[-2:]:
        return SAME, SAME
    return _everything(taken)


def _broadcast(size: int, given: int) -> Axis:
    return SAME if size == given else All(size)  # one cell that all others read


def _everything(taken: Shape) -> Axes:
    return All(taken[-2]), All(taken[-1])


def _convolution(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    _, weight, _, stride, padding, dilation, transposed, *_ = arguments
    kernel = weight[-2:]
    kind = TransposedTaps if transposed else Taps
    rows, columns = (kind(kernel[axis], _of(stride, axis), _of(padding, axis), _of(dilation, axis)) for axis in (0, 1))
    return rows, columns


def _pool(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    _, kernel, stride, padding, dilation = pool_geometry(arguments)
    rows, columns = (Taps(kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1))
    return rows, columns


def pool_geometry(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Shape taken, and (rows, columns) of kernel, stride, padding and dilation of a pool's arguments."""
    taken, kernel, *rest = arguments
    stride = rest[0] if rest and rest[0] else kernel
    padding = rest[1] if len(rest) > 1 else 0
    dilation = rest[2] if len(rest) > 2 and not isinstance(rest[2], bool) else 1
    return taken, *(tuple(_of(value, axis) for axis in (0, 1)) for value in (kernel, stride, padding, dilation))


def _of(value: Any, axis: int) -> int:
    """A number for one axis: torch gives one for both, or one each."""
    return value if isinstance(value, int) else value[axis] if len(value) > 1 else value[0]


def _padded(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    sides = (*arguments[1], 0, 0, 0, 0)  # left, right, top, bottom
    return Taps(1, padding=sides[2]), Taps(1, padding=sides[0])


def _sliced(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    _, dimension, start, _, step = (*arguments, *(None,) * 4)[:5]
    axes: list[Axis] = [SAME, SAME]
    place = (dimension or 0) % len(taken) - (len(taken) - 2)
    if place >= 0:
        size = taken[len(taken) - 2 + place]
        begin = max(0, (start or 0) + (size if (start or 0) < 0 else 0))
        axes[place] = Taps(1, step or 1, -begin)
    return axes[0], axes[1]


def _adaptive(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    rows, columns = (
        All(size) if count == 1 else Bins(size, count) for size, count in zip(taken[-2:], given[-2:], strict=True)
    )
    return rows, columns


def _nearest(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    rows, columns = _scales(arguments[2:])
    return Nearest(taken[-2], given[-2], rows), Nearest(taken[-1], given[-1], columns)


def _bilinear(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    corners, (rows, columns) = bool(arguments[2]), _scales(arguments[3:])
    return Linear(taken[-2], given[-2], corners, rows), Linear(taken[-1], given[-1], corners, columns)


def _scales(stated: Sequence[Any]) -> tuple[float | None, float | None]:
    """Cells read for one of the output: the inverse of the factors that a layer was given in the place of a size."""
    rows, columns = (1 / factor if factor else None for factor in (*stated, None, None)[:2])
    return rows, columns


def _shuffled(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    return Repeated(arguments[1]), Repeated(arguments[1])


def _unshuffled(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    return Taps(arguments[1], arguments[1]), Taps(arguments[1], arguments[1])


def _unpooled(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    return Repeated(-(-given[-2] // taken[-2])), Repeated(-(-given[-1] // taken[-1]))


def _batch_norm(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    in_training = arguments[5] is True
    return _everything(taken) if in_training else (SAME, SAME)


def _reduced(arguments: Sequence[Any], taken: Shape, given: Shape) -> Axes:
    """A mean or maximum over some dimensions."""
    named = arguments[1] if len(arguments) > 1 else None
    if not named:
        return _everything(taken)
    dimensions = {dimension % len(taken) for dimension in (named if isinstance(named, tuple) else (named,))}
    rows, columns = (All(taken[d]) if d in dimensions else SAME for d in (len(taken) - 2, len(taken) - 1))
    return rows, columns


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "avg_pool2d": _pool,
    "constant_pad_nd": _padded,
    "replication_pad2d": _padded,
    "reflection_pad2d": _padded,
    "slice": _sliced,
    "_adaptive_avg_pool2d": _adaptive,
    "upsample_nearest2d": _nearest,
    "upsample_bilinear2d": _bilinear,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _unshuffled,
    "max_unpool2d": _unpooled,
    "native_batch_norm": _batch_norm,
    "mean": _reduced,
    "amax": _reduced,
}
