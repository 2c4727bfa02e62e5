"""Where engines get what they load: from the disk, or in a process that serves many runs from what it keeps.

`use` puts another store in the place of the plain one (see cnncli.serve.models).
"""

from pathlib import Path
from typing import Any, Protocol

from cnncli.io.weights import Weights, load_weights


class Store(Protocol):
    """Gives verified weights, and the runtime's session for them where it has one of a single thread."""

    def weights(self, path: Path) -> Weights:
        """As io.weights.load_weights."""
        ...

    def session(self, weights: Weights) -> Any | None: ...


class _Disk:
    """Keeps nothing."""

    def weights(self, path: Path) -> Weights:
        return load_weights(path)

    def session(self, weights: Weights) -> None:
        return None


_store: Store = _Disk()


def use(store: Store) -> None:
    """For the rest of this process."""
    global _store
    _store = store


def weights(path: Path) -> Weights:
    """As io.weights.load_weights."""
    return _store.weights(path)


def session(weights: Weights) -> Any | None:
    """An onnxruntime.InferenceSession of one thread for these weights, where one is kept."""
    return _store.session(weights)
