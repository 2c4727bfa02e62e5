"""The folder of a run: its options, its figures by epoch, its weights, and what it takes to go on.

`resume.pt` is written last of an epoch, so that whatever stops a run, it goes on from the last whole epoch.
"""

import json
from pathlib import Path
from typing import Any

import torch

from cnncli.errors import OutputError, UsageError
from cnncli.io.atomic import make_folders, output_file
from cnncli.train.config import TrainConfig

OPTIONS, FIGURES, STATE = "options.json", "metrics.jsonl", "resume.pt"
BEST, LAST = "best.safetensors", "last.safetensors"
GO_ON = "; go on with --resume"
CURVES, EXAMPLES = "curves.png", "examples.png"


class RunFolder:
    """Files of one run; only the first process of several writes."""

    def __init__(self, config: TrainConfig):
        self.path = config.out
        self.config = config
        self.figures: list[dict[str, Any]] = []

    def open(self) -> dict[str, Any] | None:
        """Make the folder, or check it against an earlier run's; the state to go on from, if there is one.

        UsageError where it holds another run.
        """
        exists = (self.path / OPTIONS).is_file()
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path}: is a file; name a folder")
        if exists and not self.config.resume and not self.config.overwrite:
            raise UsageError(
                f"{self.path}: holds a run already; go on with it by --resume, name another folder by --out, or "
                "begin again with --overwrite"
            )
        if self.config.resume:
            if not exists:
                raise UsageError(f"--resume: there is no run in {self.path}; leave it out, or name its folder by --out")
            return self._state()
        return None

    def begin(self) -> None:
        """Write the options of a new run; figures and state of an earlier one go."""
        make_folders(self.path)
        try:
            for name in (STATE, FIGURES, BEST, LAST, CURVES, EXAMPLES):
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written ({error.strerror})") from error
        self.write(OPTIONS, json.dumps(self.config.as_dict(), indent=2).encode() + b"\n")

    def _state(self) -> dict[str, Any] | None:
        earlier = _read_json(self.path / OPTIONS)
        if conflicts := self.config.conflicts(earlier):
            raise UsageError(
                f"--resume: {self.path} was begun with other values of {', '.join(conflicts)}; give the same, see "
                f"{OPTIONS} there"
            )
        if not (self.path / STATE).is_file():
            return None  # stopped in its first epoch
        try:
            state = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
            lines = (self.path / FIGURES).read_text(encoding="utf-8").splitlines()
            self.figures = [json.loads(line) for line in lines[: state["epoch"]]]
        except Exception as error:  # torch.load raises whatever it meets
            raise UsageError(f"--resume: {self.path / STATE} can't be read; begin again with --overwrite") from error
        return state

    def write_figures(self, figures: dict[str, Any]) -> None:
        """Add an epoch's line; the file is written anew, so that lines of an unfinished epoch never stay."""
        self.figures.append(figures)
        self.write(FIGURES, "".join(json.dumps(entry) + "\n" for entry in self.figures).encode())

    def write_state(self, state: dict[str, Any]) -> None:
        with output_file(self.path / STATE, GO_ON) as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:  # what torch makes of a write that fails
                raise OSError("the disk may be full") from error

    def write(self, name: str, content: bytes) -> None:
        with output_file(self.path / name, GO_ON) as file:
            file.write(content)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read ({error}); begin again with --overwrite") from error
