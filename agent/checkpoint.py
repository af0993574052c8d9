"""The checkpoint file: one zip of JSON, safetensors and npy members, checked to the last byte; none of it can run code."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch

Array = npt.NDArray[Any]
Content = TypeVar("Content")

FORMAT = "jepa_rl checkpoint"
FORMAT_VERSION = 6

_MANIFEST, _STATE, _TENSORS = "manifest.json", "state.json", "tensors.safetensors"
_MANIFEST_LIMIT = 16 << 20  # bytes
_ARRAY_MEMBER = re.compile(r"arrays/(.+)\.npy")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_PLAIN_KINDS = "biufc"  # numpy kinds without pointers, strings or fields
_DEFLATE_FROM = 1 << 20  # bytes of uint8; on mostly black images level 1 writes 430 MB/s, 80 times smaller
_CHUNK = 1 << 20  # bytes
_DIGEST = hashlib.sha256().digest_size * 2  # hexadecimal digits, the whole of the zip comment
# What zipfile, zlib, json, numpy and safetensors raise on damaged or hostile bytes.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)
_NONSENSE = (struct.error, safetensors.SafetensorError, tokenize.TokenError, SyntaxError, LookupError, OverflowError)
_PARSER_ERRORS = (*_DAMAGE, *_NONSENSE, TypeError, ValueError, OSError, MemoryError, RuntimeError)


class CheckpointError(Exception):
    """A file that is not a whole, unaltered checkpoint of this format version."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """What a checkpoint file holds: everything that a run needs to go on, and nothing that is executed."""

    state: dict[str, Any]  # what JSON returns unaltered: string keys, lists, no tuples, finite numbers
    tensors: dict[str, torch.Tensor]  # dense; come back on the CPU, without gradient and sharing no memory
    arrays: dict[str, Array]  # booleans and numbers, under names that are relative paths such as "replay/reward"

    def __post_init__(self) -> None:
        for name, tensor in self.tensors.items():
            if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
                raise TypeError(f"Checkpoint.tensors[{name!r}] must be a dense torch.Tensor, got {type(tensor).__name__}")
            if name == "__metadata__":
                raise ValueError("Checkpoint.tensors cannot hold a tensor named '__metadata__', which safetensors reserves")
        for name, array in self.arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in _PLAIN_KINDS:
                got = getattr(array, "dtype", type(array).__name__)
                raise TypeError(f"Checkpoint.arrays[{name!r}] must hold plain numbers, got {got}")
            if not _NAME.fullmatch(name):
                raise ValueError(f"Checkpoint.arrays: {name!r} must match {_NAME.pattern}")


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write the checkpoint, replacing an earlier one in a single step: a crash at any moment leaves one of the two whole.

    What attempts that were killed left in the folder is removed. One process writes to a path at a time. Equal checkpoints
    make equal files.

    Raises:
        OSError: the folder cannot be written, the disk is full; the earlier file is untouched and nothing is left behind.
        ValueError: a state that JSON would alter.
        TypeError: a tensor of a dtype that safetensors does not have.
    """
    path = Path(path)
    contents: dict[str, bytes | Array] = {
        _STATE: _encode_state(checkpoint.state),
        _TENSORS: _encode_tensors(checkpoint.tensors),
        **{f"arrays/{name}.npy": array for name, array in checkpoint.arrays.items()},
    }
    try:
        _remove_dead_attempts(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("x+b") as file:
                _write_archive(file, contents)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _fsync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, f"cannot write the checkpoint: {error.strerror or error}", str(path)) from error


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, from whomever it comes: every byte is verified and no member can hold code.

    Raises:
        CheckpointError: the file is missing, cut short, altered, foreign, or of another format version. It names the file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read_archive(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except _PARSER_ERRORS as error:
        raise CheckpointError(f"{path} cannot be read: {error!r}") from error


def _remove_dead_attempts(path: Path) -> None:
    partial = re.compile(rf"\.{re.escape(path.name)}\.\d+\.partial")
    for entry in list(path.parent.iterdir()):
        if partial.fullmatch(entry.name):
            entry.unlink()


def _fsync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encode_state(state: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Checkpoint.state must be JSON: {error}") from error
    if not isinstance(state, dict) or json.loads(text) != state:
        raise ValueError("Checkpoint.state must be a dict that JSON returns unaltered: string keys, and lists for tuples")
    return text.encode()


def _encode_tensors(tensors: dict[str, torch.Tensor]) -> bytes:
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        return safetensors.torch.save(plain)
    except KeyError as error:
        raise TypeError(f"Checkpoint.tensors: safetensors has no dtype for {error}") from error


def _write_archive(file: IO[bytes], contents: dict[str, bytes | Array]) -> None:
    with zipfile.ZipFile(file, "w", compresslevel=1) as archive:
        members = {name: _write_member(archive, name, content) for name, content in contents.items()}
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "jepa_rl": version("jepa-rl"), "members": members}
        _write_member(archive, _MANIFEST, json.dumps(manifest, indent=1).encode())
        archive.comment = b"0" * _DIGEST
    digest = _digest(file)
    file.seek(-_DIGEST, os.SEEK_END)
    file.write(digest)


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes | Array) -> dict[str, int | str]:
    images = not isinstance(content, bytes) and content.dtype == np.uint8 and content.nbytes >= _DEFLATE_FROM
    archive.compression = zipfile.ZIP_DEFLATED if images else zipfile.ZIP_STORED
    # Given by name, not as a ZipInfo, a member gets the archive's compression level and a constant date.
    with archive.open(name, "w", force_zip64=True) as stream:
        hashed = _Hashed(stream)
        if isinstance(content, bytes):
            hashed.write(content)
        else:
            np.lib.format.write_array(hashed, content, version=(1, 0), allow_pickle=False)
    return hashed.entry()


def _read_archive(file: IO[bytes]) -> Checkpoint:
    try:
        archive = zipfile.ZipFile(file)
    except _PARSER_ERRORS as error:
        raise CheckpointError(f"is not a jepa_rl checkpoint, or was cut short: {error}") from error
    with archive:
        members = _read_manifest(archive)
        state = _read_member(archive, _STATE, members.pop(_STATE), _read_state)
        tensors = _read_member(archive, _TENSORS, members.pop(_TENSORS), _read_tensors)
        arrays = {
            name.removeprefix("arrays/").removesuffix(".npy"): _read_member(archive, name, entry, _read_array)
            for name, entry in members.items()
        }
    file.seek(-_DIGEST, os.SEEK_END)
    if file.read() != _digest(file):
        raise CheckpointError("is damaged: the bytes around its members do not match the checksum in the zip comment")
    return Checkpoint(state=state, tensors=tensors, arrays=arrays)


def _read_manifest(archive: zipfile.ZipFile) -> dict[str, object]:
    """Return what the manifest says of each member, having compared their names with those in the archive."""
    names = archive.namelist()
    if _MANIFEST not in names or archive.getinfo(_MANIFEST).file_size > _MANIFEST_LIMIT:
        raise CheckpointError(f"is not a jepa_rl checkpoint: it has no {_MANIFEST} of a plausible size")
    try:
        manifest = json.loads(archive.read(_MANIFEST))
    except _PARSER_ERRORS as error:
        raise CheckpointError(f"has an unreadable member {_MANIFEST}: {error!r}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"is not a jepa_rl checkpoint: {_MANIFEST} does not say so")
    written = manifest.get("format_version")
    if written != FORMAT_VERSION:
        raise CheckpointError(
            f"was written in format {written}, this version reads {FORMAT_VERSION}: train again, or read it with the "
            "version of jepa_rl that wrote it"
        )
    members = manifest.get("members")
    if not isinstance(members, dict):
        raise CheckpointError(f"is damaged: {_MANIFEST} lists no members")
    missing = {_STATE, _TENSORS, *members}.difference(names)
    unexpected = {name for name, count in Counter(names).items() if count > 1 or name not in {_MANIFEST, *members}}
    unexpected |= {name for name in members if name not in (_STATE, _TENSORS) and not _ARRAY_MEMBER.fullmatch(name)}
    if missing or unexpected:
        raise CheckpointError(f"is damaged: missing members {sorted(missing)}, unexpected members {sorted(unexpected)}")
    return members


def _read_member(archive: zipfile.ZipFile, name: str, entry: object, read: Callable[[_Hashed, int], Content]) -> Content:
    """Return what ``read`` makes of a member's stream and size, if its bytes are those that the manifest lists."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError(f"has member {name} in an unexpected compression")
    try:
        with archive.open(info) as stream:
            hashed = _Hashed(stream)
            content = read(hashed, info.file_size)
        matches = hashed.entry() == entry
    except _DAMAGE:
        matches = False
    except _PARSER_ERRORS as error:
        raise CheckpointError(f"has an unreadable member {name}: {error!r}") from error
    if not matches:
        raise CheckpointError(f"is damaged: member {name} does not match its checksum")
    return content


def _read_state(stream: _Hashed, _size: int) -> dict[str, Any]:
    state = json.loads(stream.read(), parse_constant=_refuse_constant)
    if not isinstance(state, dict):
        raise TypeError(f"must be a JSON object, got {type(state).__name__}")
    return state


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _read_tensors(stream: _Hashed, _size: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(stream.read())


def _read_array(stream: _Hashed, size: int) -> Array:
    """Read an npy member without numpy's loader: plain dtypes only, and no more memory than the member has bytes."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("the npy version must be 1.0")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in _PLAIN_KINDS:
        raise TypeError(f"unsafe dtype {dtype}")
    if stream.size + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{dtype}{list(shape)} does not fit into {size} bytes")
    array = np.empty(shape, dtype, order="F" if fortran_order else "C")
    data = (array.T if fortran_order else array).reshape(-1).view(np.uint8)
    for start in range(0, len(data), _CHUNK):
        part = data[start : start + _CHUNK]
        chunk = stream.read(len(part))
        if len(chunk) != len(part):
            raise EOFError
        part[:] = np.frombuffer(chunk, np.uint8)
    return array


def _digest(file: IO[bytes]) -> bytes:
    """Return the SHA-256, in hexadecimal digits, of all bytes but the last ones, where it is kept."""
    left = file.seek(0, os.SEEK_END) - _DIGEST
    file.seek(0)
    sha256 = hashlib.sha256()
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest().encode()


class _Hashed:
    """A member's stream, whose bytes are counted and hashed as they pass."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count(data)
        return data

    def write(self, data: bytes) -> int:
        self._count(data)
        return self._stream.write(data)

    def entry(self) -> dict[str, int | str]:
        return {"size": self.size, "sha256": self._sha256.hexdigest()}

    def _count(self, data: bytes) -> None:
        self._sha256.update(data)
        self.size += len(data)
