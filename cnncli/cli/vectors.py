"""`--embed` with --out FILE.npy: vectors of all inputs as one array."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cnncli.cli.execute import Addition, RunContext, Sink
from cnncli.errors import UsageError


class Vectors(Addition):
    """A row of the array for each input: what `vector_of` finds in its result; None where it failed or has none."""

    def __init__(self, out: Path | None, vector_of: Callable[[Any], Any], refusal: str | None = None):
        """`refusal`: what is said of pictures, where the task has none in this form."""
        self.path = out if out is not None and out.suffix == ".npy" else None
        self.takes_out = self.path is not None
        self._vector_of = vector_of
        self._refusal = refusal

    def check(self, context: RunContext) -> None:
        from cnncli.run.outputs import check_array

        if self.path is not None:
            check_array(self.path, context.sources, context.existing, context.output.resume)
        elif self._refusal is not None and (context.output.out or context.output.out_dir):
            raise UsageError(self._refusal)

    def sinks(self, context: RunContext, stack: ExitStack, report: Any) -> list[Sink]:
        if self.path is None:
            return []
        from cnncli.io.arrays import row_writer

        rows = stack.enter_context(row_writer(self.path))
        return [lambda record, outcome: rows.append(self._vector_of(outcome.result) if outcome.result else None)]
