"""A way of looking inside a network at one photo, and the engine that runs it for the pipeline."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cnncli.engine.base import Batch, Outputs
from cnncli.errors import InputError
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.results.explain import Explanation

Arrays = dict[str, np.ndarray]
FOUND = "found"  # the engine's one output: an object for each input


class Method(ABC):
    """Frozen dataclasses whose fields are the options that change the answer."""

    name: ClassVar[str]  # of its command

    @abstractmethod
    def look(self, subject: Subject, pixels: np.ndarray) -> Arrays:
        """Everything found in one input as the network takes it, (H, W, C): arrays that the others read."""

    @abstractmethod
    def describe(self, subject: Subject, arrays: Arrays) -> tuple[dict[str, Any], str]:
        """Entries of the record, and one line for people."""

    @abstractmethod
    def draw(self, subject: Subject, photo: Photo, found: Explanation) -> np.ndarray:
        """The picture, uint8 RGB: legible on its own, the photo beside what was found."""


@dataclass(frozen=True)
class MethodEngine:
    """Runs a method where the pipeline expects a network: one input after the other."""

    subject: Subject
    look: Callable[[Subject, np.ndarray], Arrays]
    name: ClassVar[str] = "torch"
    parallel_calls: ClassVar[int] = 1
    shares_cores: ClassVar[bool] = False
    preferred_batch: ClassVar[int] = 1
    turn: ClassVar[int] = 1

    @property
    def device(self) -> str:
        return str(self.subject.device)

    def run(self, batch: Batch) -> Outputs:
        found = np.empty(len(batch), object)
        for number, pixels in enumerate(batch):
            found[number] = self._looked(pixels)
        return {FOUND: found}

    def _looked(self, pixels: np.ndarray) -> Arrays | InputError:
        """An input that has nothing to explain fails alone, as one that can't be read does."""
        try:
            return self.look(self.subject, pixels)
        except InputError as error:
            return error
