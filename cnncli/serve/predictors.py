"""Predictors for the HTTP server: one for each task and set of options, over models that all of them share."""

import threading
from collections import OrderedDict
from typing import Any

from cnncli.engine import kept
from cnncli.run.predictor import Predictor
from cnncli.serve.models import KeptModels, model_paths

MOST_PREDICTORS = 32


class Predictors:
    """Keeps the most recently used; may be asked by several threads."""

    def __init__(self, models: list[str]):
        """Load the models of these tasks, names or files at once."""
        store = KeptModels()
        store.missed = store.keep
        for path in model_paths(models):
            store.keep(path)
        kept.use(store)
        self._lock = threading.Lock()
        self._predictors: OrderedDict[tuple[str, Any], Predictor] = OrderedDict()

    def record(self, task: str, options: dict[str, Any], photo: bytes, name: str) -> dict[str, Any]:
        """The record of a photo, an image file's bytes. CnncliError where the options don't fit."""
        (record,) = self._predictor(task, options)([photo])
        return {**record, "file": name}

    def _predictor(self, task: str, options: dict[str, Any]) -> Predictor:
        key = (task, tuple(sorted(options.items())))
        with self._lock:
            predictor = self._predictors.pop(key, None)
            if predictor is None:
                predictor = Predictor(task, device="cpu", **options)
                predictor([])  # loads the model, once
            self._predictors[key] = predictor
            if len(self._predictors) > MOST_PREDICTORS:
                self._predictors.popitem(last=False)
        return predictor
