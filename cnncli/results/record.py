"""Records: one per input, whatever happened, with the same head for every task."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# of a picture that is the answer itself
WRITTEN = {
    "type": ["string", "null"],
    "description": "the picture written; null on failure, or where none was asked for",
}


@dataclass(frozen=True)
class Run:
    """What all records of a run share. `options_digest` names the options that change an answer.

    A task that is computed without a network has no `model`; `further` are the name and SHA-256 of the second model
    and so on, under what each is made for.
    """

    task: str
    model: str | None
    weights_sha256: str | None
    engine: str
    device: str
    options_digest: str
    result_key: str
    further: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """One input's outcome; `result` is the task's part (None on failure), `extra` optional keys of the head."""

    run: Run
    file: str
    index: int
    failure: str | None
    width: int | None
    height: int | None
    orientation: int | None
    result: dict[str, Any] | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.failure is None

    @property
    def complaint(self) -> str:
        """The failure with the name of the file; that of a pair says itself of which of its photos."""
        return str(self.failure) if "file2" in self.extra else f"{self.file}: {self.failure}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": f"cnncli.{self.run.task}/1",
            "file": self.file,
            "index": self.index,
            "ok": self.ok,
            "failure": self.failure,
            "width": self.width,
            "height": self.height,
            "exif_orientation": self.orientation,
            **({self.run.result_key: None} if self.result is None else self.result),
            "model": self.run.model,
            "weights_sha256": self.run.weights_sha256,
            "engine": self.run.engine,
            "device": self.run.device,
            "run": self.run.options_digest,
            **self._further(),
            **self.extra,
        }

    def _further(self) -> dict[str, Any]:
        entries = {role: {"model": name, "weights_sha256": sha256} for role, (name, sha256) in self.run.further.items()}
        return {"further_models": entries} if entries else {}
