"""A module imports only from floors below its own (or its own package), so that each line has one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FLOORS = {
    "errors": -1, "config": 0, "catalog": 0, "results": 0, "__init__": 0,
    "imaging": 1, "io": 1,
    "nn": 2,
    "tasks": 3, "engine": 3,
    "run": 4, "train": 4, "viewer": 4,
    "evaluate": 5, "explain": 5, "serve": 5, "cluster": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip
PACKAGE = ROOT / "cnncli"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"numpy", "cv2", "torch", "torchvision", "onnxruntime", "onnx", "PIL", "rich", "safetensors"}


def part_of(module: str) -> str:
    """ "cnncli.io.images" -> "io"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> Iterator[str]:
    """Names of modules imported anywhere in a file, but for type checking."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_from_floors_below(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # the package's door hands out the Predictor when asked for it
    own = part_of(name_of(path).removesuffix(".__init__"))
    for module in imports(path):
        if module == "cnncli" or not module.startswith("cnncli."):
            continue
        other = part_of(module)
        assert other == own or FLOORS[other] < FLOORS[own], f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_torch_floors_import_torch(path: Path) -> None:
    allowed = part_of(name_of(path)) in ("nn", "train", "explain") or path.stem.startswith("torch_")
    named = {module.split(".")[0] for module in imports(path)}
    assert allowed or not named & {"torch", "torchvision"}


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(name_of(p)) == "cli"], ids=name_of)
def test_commands_import_heavy_packages_only_inside_functions(path: Path) -> None:
    if path.stem in ("tables", "figures"):
        return  # themselves imported inside a function
    top_level = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    for node in top_level:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert not {name.split(".")[0] for name in names} & HEAVY


def test_no_floor_below_the_command_line_prints() -> None:
    for path in MODULES:
        if FLOORS[part_of(name_of(path).removesuffix(".__init__"))] >= FLOORS["cli"]:
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"], path
