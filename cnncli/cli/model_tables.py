"""Models and layers as tables: for people, for spreadsheets, for documents."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

HEADINGS = (
    "#", "layer", "kind", "kernel", "stride", "padding", "dilation", "output", "neurons", "parameters", "MACs",
    "receptive field", "jump",
)  # fmt: skip
MOST = 3  # measured figures of a model in the table
TEXTS = ("layer", "kind", "output")  # columns that begin at the left


def layer_rows(table: Any) -> list[tuple[str, ...]]:
    """The cells of each layer, under HEADINGS; numbers whole, without separators."""
    return [_row(layer.as_dict()) for layer in table.layers]


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    sizes = [_pair(layer[name]) for name in ("kernel", "stride", "padding", "dilation")]
    output = " x ".join(str(size) for size in layer["output"])
    counts = [str(layer[name]) for name in ("neurons", "parameters", "macs")]
    field = "all" if layer["sees_all"] else _pair(layer["receptive_field"])
    jump = "" if layer["sees_all"] else _pair(layer["jump"])
    return str(layer["number"]), layer["layer"], layer["kind"], *sizes, output, *counts, field, jump


def _pair(sizes: Sequence[float] | None) -> str:
    """Rows x columns, or one number for both."""
    if sizes is None:
        return ""
    return f"{sizes[0]:g}" if sizes[0] == sizes[1] else f"{sizes[0]:g} x {sizes[1]:g}"


def _total(table: Any) -> tuple[str, ...]:
    sums = (f"{count:,}" for count in (table.neurons, table.parameters, table.macs))
    return "", "total", *("",) * 6, *sums, "", ""


def _grouped(row: Sequence[str]) -> list[str]:
    """Long counts with separators of thousands."""
    counts = [HEADINGS.index(name) for name in ("neurons", "parameters", "MACs")]
    return [f"{int(cell):,}" if place in counts else cell for place, cell in enumerate(row)]


def layer_table_text(name: str, table: Any) -> str:
    """Aligned columns, as wide as they need: in a terminal, a file or a pager."""
    head, *rows, total = _aligned([HEADINGS, *map(_grouped, layer_rows(table)), _total(table)], TEXTS)
    rule = "-" * len(max([head, *rows, total], key=len))
    title = f"{name}, input {' x '.join(map(str, table.input))}"
    return "\n".join([title, "", head, rule, *rows, rule, total, *_rest(table)])


def _aligned(rows: Sequence[Sequence[str]], texts: Sequence[str]) -> list[str]:
    """Lines whose columns are as wide as they need; the first row are headings, those in `texts` stand at the left."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if heading in texts else cell.rjust(width)
            for cell, width, heading in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]


def _rest(table: Any) -> list[str]:
    """What the rows leave out of the total."""
    listed = sum(layer.parameters for layer in table.layers)
    if listed == table.parameters:
        return []
    return ["", f"{table.parameters - listed:,} parameters are in layers that are not listed; --all lists most of them"]


def layer_table_markdown(name: str, table: Any) -> str:
    rule = ["---" if heading in TEXTS else "---:" for heading in HEADINGS]
    rows = [HEADINGS, rule, *map(_grouped, layer_rows(table)), _total(table)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def layer_table_csv(name: str, table: Any) -> str:
    return _csv([HEADINGS, *layer_rows(table)])


def layer_table_json(name: str, table: Any) -> str:
    return json.dumps({"network": name, **table.as_dict()}, indent=2)


LAYER_WRITERS: dict[str, Callable[[str, Any], str]] = {
    "table": layer_table_text,
    "json": layer_table_json,
    "csv": layer_table_csv,
    "markdown": layer_table_markdown,
}


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n")


def model_rows(entries: Sequence[dict[str, Any]]) -> str:
    """Models as CSV; what was measured as JSON."""
    heads = ("model", "task", "command", "backbone", "where", "input", "any_size", "classes", "parameters", "macs")
    rows = [[*(entry[head] for head in heads), json.dumps(entry["measured"]), entry["licence"]] for entry in entries]
    return _csv([(*heads, "measured", "licence"), *rows])


def model_table(entries: Sequence[dict[str, Any]]) -> str:
    """Models for people."""
    heads = ("model", "task", "input", "parameters", "MACs", "licence", "where", "measured (%, dB)")
    rows = [
        (
            *(entry[name] for name in ("model", "task", "input")),
            _short(entry["parameters"]),
            _short(entry["macs"]),
            entry["licence"].partition(" (")[0],
            entry["where"],
            ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in list(entry["measured"].items())[:MOST]),
        )
        for entry in entries
    ]
    head, *lines = _aligned([heads, *rows], [name for name in heads if name not in ("parameters", "MACs")])
    return "\n".join([head, "-" * max(map(len, [head, *lines])), *lines])


def _short(count: int) -> str:
    """Three digits: 5.21 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
