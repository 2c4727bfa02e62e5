"""Models that a server keeps: verified weights, and a session of the runtime for each."""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

from cnncli.errors import CnncliError, WeightsError
from cnncli.io.weights import Weights, load_weights

MOST_MODELS = 16
MOST_BYTES = 1 << 30  # of weights files; a session takes twice as much again, in float32

FURTHER_ROLES = {"verify-face": ("embed-face",)}  # of the command as it is mostly used, beside those of a Predictor


@dataclass(frozen=True)
class FileState:
    """A file as it was when it was read: one that was replaced has another state, and is read again."""

    path: str
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState | None":
        """None where it is no plain file, and so nothing to keep."""
        try:
            real = os.path.realpath(path)
            status = os.stat(real)
        except OSError:
            return None
        if not S_ISREG(status.st_mode):
            return None
        return cls(real, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class _Model:
    weights: Weights
    session: Any | None


class KeptModels:
    """The most recently used models; `missed` is called with the real path of each that was asked for and not there.

    An engine.kept.Store.
    """

    def __init__(self, missed: Callable[[str], None] = lambda path: None):
        self.missed = missed
        self._models: OrderedDict[FileState, _Model] = OrderedDict()

    @property
    def names(self) -> list[str]:
        """Paths of what is kept."""
        return [state.path for state in self._models]

    def weights(self, path: Path) -> Weights:
        """As io.weights.load_weights: under the name that the user gave."""
        state = FileState.of(path)
        model = self._models.get(state) if state else None
        if model is not None:
            return replace(model.weights, path=path)
        weights = load_weights(path)
        if state is not None:
            self.missed(state.path)
        return weights

    def session(self, weights: Weights) -> Any | None:
        """By the hash of the file: two files of the same bytes are one model."""
        if not weights.sha256:
            return None
        kept = (model.session for model in self._models.values() if model.weights.sha256 == weights.sha256)
        return next(kept, None)

    def keep(self, path: str) -> None:
        """Load a file that will be asked for again. A file that can't be is left to whoever asks."""
        from cnncli.engine.onnx_engine import open_graph

        state = FileState.of(Path(path))
        if state is None or state.size > MOST_BYTES:
            return
        if state in self._models:
            self._models.move_to_end(state)
            return
        try:
            weights = load_weights(Path(path))
            session = open_graph(weights, threads=1) if weights.graph is not None else None
            if session is not None:
                _warm_up(session, weights.info.recipe.get("input"))
        except (CnncliError, MemoryError):
            return
        for older in [older for older in self._models if older.path == state.path]:
            del self._models[older]
        self._models[state] = _Model(weights, session)
        while len(self._models) > MOST_MODELS or sum(kept.size for kept in self._models) > MOST_BYTES:
            self._models.popitem(last=False)


def _warm_up(session: Any, input_size: Sequence[int] | None) -> None:
    """Run it once, on nothing: the first call of a session takes half as long again, and would in every fork."""
    import numpy as np

    (images,) = session.get_inputs()
    kind = np.uint8 if "uint8" in images.type else np.float32
    with contextlib.suppress(Exception):  # of the runtime, whose own types are not public; those who ask will meet it
        session.run(None, {images.name: np.zeros((1, *(input_size or images.shape[1:3]), images.shape[3]), kind)})


def model_paths(words: list[str]) -> list[str]:
    """Weights files for what is to be loaded at once: tasks (their default models), models by name, or files."""
    from cnncli.catalog import TASKS, resolve
    from cnncli.io.store import SUFFIX, model_path

    paths: list[Path] = []
    for word in words:
        if word in TASKS:
            roles = (*resolve(TASKS[word].options)().roles, *FURTHER_ROLES.get(word, ()))
            paths += [_default_path(role) for role in roles]
        elif word.endswith(SUFFIX):
            paths.append(Path(word))
        else:
            paths.append(model_path(word))
    for path in paths:
        if not path.is_file():
            raise WeightsError(f"{path}: no such weights file; see 'cnncli weights list'")
    return [os.path.realpath(path) for path in paths]


def _default_path(role: str) -> Path:
    from cnncli.catalog import DEFAULT_MODELS
    from cnncli.io.store import model_path

    return model_path(DEFAULT_MODELS[role])
