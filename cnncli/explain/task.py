"""Looking inside a network as a task: the pipeline, its records and its pictures serve it as they serve the others."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from cnncli.errors import InputError
from cnncli.explain.layout import DRAWING
from cnncli.explain.method import FOUND, Method
from cnncli.explain.subject import Subject
from cnncli.io.images import Photo
from cnncli.io.pictures import Picture
from cnncli.results.explain import Explanation
from cnncli.tasks.base import BaseTask, Outputs, Request

LOOK = "explain"  # the engine that runs the method
RESULT_KEY = "explanation"


class ExplainTask(BaseTask):
    """A method on what the task `inner` would ask its network of the `role` first."""

    result_key = RESULT_KEY
    columns: tuple[str, ...] = (RESULT_KEY,)
    name: ClassVar[str] = "explain"
    picture_suffix: ClassVar[str] = ".png"

    def __init__(self, inner: Any, role: str, method: Method, subject: Subject):
        self.inner = inner
        self.role = role
        self.method = method
        self.subject = subject

    def analyse(self, image: np.ndarray) -> Generator[Request, Outputs, Explanation]:
        seen = yield from first_input(self.inner, self.role, image)
        arrays = (yield Request(LOOK, seen))[FOUND]
        if isinstance(arrays, InputError):
            raise arrays
        return Explanation(*self.method.describe(self.subject, arrays), seen, arrays)

    def draw(self, photo: Photo, result: Explanation, suffix: str) -> Picture:
        with DRAWING:
            return Picture(self.method.draw(self.subject, photo, result))

    def release(self, result: Explanation) -> Explanation:
        return replace(result, seen=None, arrays={})


def first_input(inner: Any, role: str, image: np.ndarray) -> Generator[Request, Outputs, np.ndarray]:
    """What a task would ask its network of the `role` first; other networks before it are asked as ever (for faces)."""
    asking = inner.analyse(image)
    try:
        request = next(asking)
        while request.model != role:
            request = asking.send((yield request))
    except StopIteration:
        raise InputError("there is nothing in it to look at: no face was found") from None
    return request.array
