"""A whole run: sources in, records out. What the commands and the Predictor share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from cnncli.config import RunConfig, Shard
from cnncli.io.images import Photo
from cnncli.results.record import Record
from cnncli.run.items import Item
from cnncli.run.pipeline import Outcome, Pipeline
from cnncli.run.session import Session
from cnncli.tasks.base import Result


class Product(Protocol):
    """Something written for each input; what `write` returns goes into the record (see run.outputs)."""

    def write(self, item: Item, photo: Photo, result: Result) -> Mapping[str, Any]: ...


def run_items(
    session: Session,
    items: Iterable[Item],
    config: RunConfig,
    products: Sequence[Product] = (),
    total: int | None = None,
    timings: bool = False,
) -> Iterator[tuple[Record, Outcome]]:
    """Records of the items, in their order, each with the outcome that it was made from.

    A session of several devices has each item done by one of their processes: there the products write.

    `total` is the number of inputs over all shards, which sharded records state.
    """

    def finish(item: Item, photo: Photo, result: Result) -> Mapping[str, Any]:
        extra: dict[str, Any] = {}
        for product in products:
            extra |= product.write(item, photo, result)
        return extra

    def work(session: Session, items: Iterable[Item], config: RunConfig) -> Iterator[Outcome]:
        return Pipeline(session.task, session.engines, config, finish if products else None).run(items)

    if session.devices:
        from cnncli.run.processes import spread  # here, because few runs need it

        for run, outcome in spread(session, items, config, work):
            yield record_of(replace(session, run=run), outcome, config.shard, total, timings), outcome
        return
    for outcome in work(session, items, config):
        yield record_of(session, outcome, config.shard, total, timings), outcome


def record_of(session: Session, outcome: Outcome, shard: Shard, total: int | None, timings: bool) -> Record:
    """The record of an outcome."""
    written = {key: value for key, value in outcome.extra.items() if key != "picture"}  # an array, for sinks alone
    extra = {**outcome.item.extra, **written}
    if outcome.item.skipped:
        extra["skipped"] = True
    if shard.count > 1:
        extra |= {"shard": str(shard), "inputs": total}
    if timings:
        extra["ms"] = {stage: round(value, 3) for stage, value in outcome.ms.items()}
    return Record(
        session.run,
        outcome.item.file,
        outcome.item.index,
        outcome.failure,
        outcome.width,
        outcome.height,
        outcome.orientation,
        outcome.result.as_dict() if outcome.result is not None else None,
        extra,
    )
