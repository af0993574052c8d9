"""The checkpoint file: exact round trips, and no damaged, foreign or hostile file that gets past it."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from jepa_rl.agent.checkpoint import FORMAT_VERSION, Checkpoint, CheckpointError, read_checkpoint, write_checkpoint


class Bomb:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def make_checkpoint(value: float = 1.5) -> Checkpoint:
    return Checkpoint(
        state={"step": 7, "rng": {"state": 2**127 + 1}, "losses": [value, None, True], "name": "Zähler"},
        tensors={"encoder.0.weight": torch.tensor([[value, -0.0]]), "target.bias": torch.tensor([1, 2])},
        arrays={"replay/reward": np.array([value, 2.0], np.float32), "images": make_images()},
    )


def make_images() -> np.ndarray:
    images = np.zeros((100, 64, 64, 3), np.uint8)  # large enough to be compressed
    images[::7, 3:9, 5:11] = np.random.default_rng(0).integers(1, 256, (15, 6, 6, 3), np.uint8)
    return images


def require_equal(left: Checkpoint, right: Checkpoint) -> None:
    assert left.state == right.state
    assert set(left.tensors) == set(right.tensors)
    assert set(left.arrays) == set(right.arrays)
    for name, tensor in left.tensors.items():
        assert tensor.dtype == right.tensors[name].dtype
        assert torch.equal(tensor.detach().cpu(), right.tensors[name])
    for name, array in left.arrays.items():
        assert (array.dtype, array.shape) == (right.arrays[name].dtype, right.arrays[name].shape)
        assert array.tobytes() == right.arrays[name].tobytes()


def rewrite(
    path: Path,
    change: dict[str, bytes | None],
    *,
    keep_sums: bool = False,
    extra: dict[str, bytes] | None = None,
) -> None:
    """Change members of a checkpoint as a forger would: with matching checksums, unless told to keep the old ones."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | change
    members = {name: content for name, content in members.items() if content is not None}
    manifest = json.loads(members.pop("manifest.json"))
    if not keep_sums and "manifest.json" not in change:
        manifest["members"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in members.items()
        }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | (extra or {})).items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.comment = b"0" * 64
    body = path.read_bytes()[:-64]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())


def brief(value: object) -> str:
    return repr(value)[:40]


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=True)
    return stream.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent [1].zip"  # a name that would mislead a glob


def test_a_checkpoint_comes_back_as_it_was_written(path):
    write_checkpoint(path, make_checkpoint())
    require_equal(make_checkpoint(), read_checkpoint(path))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32, np.float64, np.complex64, ">i2"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 2)])
def test_arrays_of_every_plain_dtype_and_shape_come_back(path, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    arrays = {"a": array, "transposed": array.T} | ({"strided": array[..., ::2]} if shape else {})
    checkpoint = Checkpoint(state={}, tensors={}, arrays=arrays)
    write_checkpoint(path, checkpoint)
    require_equal(checkpoint, read_checkpoint(path))


def test_non_finite_floats_in_arrays_come_back(path):
    checkpoint = Checkpoint(state={}, tensors={}, arrays={"a": np.array([np.nan, -np.inf, -0.0])})
    write_checkpoint(path, checkpoint)
    require_equal(checkpoint, read_checkpoint(path))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_of_every_dtype_and_shape_come_back(path, dtype, shape):
    checkpoint = Checkpoint(state={}, tensors={"t": torch.ones(shape).to(dtype)}, arrays={})
    write_checkpoint(path, checkpoint)
    require_equal(checkpoint, read_checkpoint(path))


def test_tensors_with_gradient_shared_memory_and_strides_come_back(path):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    checkpoint = Checkpoint(state={}, tensors={"weight": weight, "tied": weight, "transposed": weight.T}, arrays={})
    write_checkpoint(path, checkpoint)
    read = read_checkpoint(path)
    require_equal(checkpoint, read)
    assert not any(tensor.requires_grad for tensor in read.tensors.values())


def test_what_was_read_can_be_written_to(path):
    write_checkpoint(path, make_checkpoint())
    read = read_checkpoint(path)
    read.arrays["images"][0] = 9
    read.tensors["target.bias"].add_(1)
    assert read.tensors["target.bias"].tolist() == [2, 3]


def test_images_are_compressed_and_the_rest_is_not(path):
    small, images = np.zeros(99, np.uint8), make_images()
    arrays = {"images": images, "small": small, "floats": np.zeros(10**6, np.float32)}
    write_checkpoint(path, Checkpoint(state={}, tensors={}, arrays=arrays))
    with zipfile.ZipFile(path) as archive:
        compressed = {info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED}
        assert archive.testzip() is None
        assert archive.getinfo("arrays/images.npy").compress_size < images.nbytes / 20
    assert compressed == {"arrays/images.npy"}


def test_equal_checkpoints_make_equal_files(path, tmp_path):
    write_checkpoint(path, make_checkpoint())
    write_checkpoint(tmp_path / "other", make_checkpoint())
    assert path.read_bytes() == (tmp_path / "other").read_bytes()


def test_a_file_cut_anywhere_is_refused(path):
    write_checkpoint(path, make_checkpoint())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in {0, 1, 21, len(whole) - 65, len(whole) - 64, len(whole) - 1, *rng.integers(len(whole), size=100).tolist()}:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="agent"):
            read_checkpoint(path)


def test_a_byte_changed_anywhere_is_noticed(path):
    checkpoint = make_checkpoint()
    write_checkpoint(path, Checkpoint(state=checkpoint.state, tensors=checkpoint.tensors, arrays={"a": np.arange(9)}))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in range(0, len(whole), 3):
        altered = bytearray(whole)
        altered[position] ^= int(rng.integers(1, 256))
        path.write_bytes(altered)
        with pytest.raises(CheckpointError, match="agent"):
            read_checkpoint(path)


def test_a_byte_changed_in_compressed_images_is_noticed(path):
    write_checkpoint(path, make_checkpoint())
    whole = path.read_bytes()
    for position in np.random.default_rng(0).integers(len(whole), size=100):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        with pytest.raises(CheckpointError, match="agent"):
            read_checkpoint(path)


def test_bytes_added_before_or_behind_are_noticed(path):
    write_checkpoint(path, make_checkpoint())
    whole = path.read_bytes()
    for longer in (whole + b"\0", b"\0" + whole, whole + whole):
        path.write_bytes(longer)
        with pytest.raises(CheckpointError, match="agent"):
            read_checkpoint(path)


@pytest.mark.parametrize("member", ["state.json", "tensors.safetensors", "arrays/images.npy"])
def test_a_member_exchanged_under_its_old_checksum_is_named(path, member):
    write_checkpoint(path, make_checkpoint(1.5))
    with zipfile.ZipFile(path) as archive:
        other = archive.read(member)[:-1] + b"?"
    rewrite(path, {member: other}, keep_sums=True)
    with pytest.raises(CheckpointError, match=f"member {member} does not match its checksum|unreadable member {member}"):
        read_checkpoint(path)


def test_a_member_of_another_checkpoint_is_refused(path, tmp_path):
    write_checkpoint(path, make_checkpoint(1.5))
    write_checkpoint(tmp_path / "other", make_checkpoint(2.5))
    with zipfile.ZipFile(tmp_path / "other") as archive:
        rewrite(path, {"state.json": archive.read("state.json")}, keep_sums=True)
    with pytest.raises(CheckpointError, match=r"member state\.json does not match its checksum"):
        read_checkpoint(path)


def test_missing_and_unexpected_members_are_named(path):
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {"arrays/images.npy": None}, keep_sums=True, extra={"arrays/new.npy": b"", "run.py": b""})
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert "missing members ['arrays/images.npy'], unexpected members ['arrays/new.npy', 'run.py']" in str(caught.value)


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors", "arrays/images.npy"])
def test_a_missing_member_is_named(path, name):
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {name: None}, keep_sums=True)
    with pytest.raises(CheckpointError, match="missing members") as caught:
        read_checkpoint(path)
    assert f"missing members ['{name}'], unexpected members []" in str(caught.value)


@pytest.mark.parametrize("name", ["run.py", "weights.pkl", "arrays/.npy", "arrays/../up.npy", "arrays//etc/x.npy"])
def test_members_of_other_kinds_and_places_are_refused_even_with_a_checksum(path, name):
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {name: npy(np.zeros(2))})
    with pytest.raises(CheckpointError, match="agent"):
        read_checkpoint(path)


def test_a_member_stored_twice_is_refused(path):
    write_checkpoint(path, make_checkpoint())
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("state.json", archive.read("state.json"))
    with pytest.raises(CheckpointError, match=r"unexpected members \['state\.json'\]"):
        read_checkpoint(path)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, FORMAT_VERSION - 1, "1", None])
def test_another_format_version_is_refused_and_named(path, version):
    write_checkpoint(path, make_checkpoint())
    manifest = {"format": "jepa_rl checkpoint", "format_version": version, "members": {}}
    rewrite(path, {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(CheckpointError, match=f"was written in format {version}, this version reads {FORMAT_VERSION}"):
        read_checkpoint(path)


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"\xff", b'{"format": "other"}', b"[" * 100_000], ids=brief)
def test_a_manifest_that_is_not_ours_is_refused(path, manifest):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", manifest)
    with pytest.raises(CheckpointError, match=r"is not a jepa_rl checkpoint|unreadable member manifest\.json"):
        read_checkpoint(path)


def test_a_manifest_that_would_fill_the_memory_is_not_read(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b'{"format": "jepa_rl checkpoint"}' + b" " * (16 << 20))
    with pytest.raises(CheckpointError, match=r"no manifest\.json of a plausible size"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x89PNG\r\n", pickle.dumps(Bomb())])
def test_files_that_are_no_zip_are_refused(path, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a jepa_rl checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_foreign_zips_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:  # the members of a Stable-Baselines3 model
        for name in ("data", "policy.pth", "pytorch_variables.pth", "_stable_baselines3_version"):
            archive.writestr(name, b"2.9.0")
    with pytest.raises(CheckpointError, match="is not a jepa_rl checkpoint"):
        read_checkpoint(path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="is not a jepa_rl checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "array", [np.array([Bomb()], object), np.array(["text"]), np.zeros(2, [("a", "f4")]), np.zeros(1, "M8[s]")]
)
def test_arrays_that_are_not_plain_numbers_are_neither_written_nor_read(path, array, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=r"arrays\['a'\] must hold plain numbers"):
        Checkpoint(state={}, tensors={}, arrays={"a": array})
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {"arrays/a.npy": npy(array)})
    with pytest.raises(CheckpointError, match=r"unreadable member arrays/a\.npy: TypeError.*unsafe dtype"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


HOSTILE_HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': __import__('os').mkdir('exploded')}",
    "{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': ['f4'], 'fortran_order': False, 'shape': (1,), }",
    "{'descr': (), 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000000000000000), }",
    "(" * 5000,
    "-" * 9000 + "1",
    "1+" * 4000 + "1",
    "  a\n b",
    "'",
    "\0",
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=brief)
def test_forged_array_headers_are_refused_and_not_evaluated(path, header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(path, make_checkpoint())
    text = header.encode() + b"\n"
    rewrite(path, {"arrays/a.npy": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0\0\0\0"})
    with pytest.raises(CheckpointError, match=r"unreadable member arrays/a\.npy"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


def test_another_npy_version_is_refused(path):
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {"arrays/a.npy": npy(np.zeros(2), version=(2, 0))})
    with pytest.raises(CheckpointError, match=r"unreadable member arrays/a\.npy.*npy version must be 1\.0"):
        read_checkpoint(path)


UNKNOWN_TO_TORCH = safetensors.torch.save({"t": torch.ones(4).to(torch.float8_e4m3fn)}).replace(b"F8_E4M3", b"F8_E8M0")


@pytest.mark.parametrize("length", [0, 1, 3, 10**12])
def test_no_memory_is_taken_for_an_array_of_another_size_than_its_member(path, length):
    write_checkpoint(path, make_checkpoint())
    forged = npy(np.zeros(2, np.float32)).replace(b"(2,), }" + b" " * 13, f"({length},), }}".ljust(20).encode())
    rewrite(path, {"arrays/a.npy": forged})
    with pytest.raises(CheckpointError, match=rf"float32\[{length}\] does not fit into 136 bytes"):
        read_checkpoint(path)


def test_an_array_that_memory_cannot_hold_is_a_checkpoint_error(path, monkeypatch):
    def fail(*_args: object, **_keywords: object) -> None:
        raise MemoryError

    write_checkpoint(path, make_checkpoint())
    monkeypatch.setattr(np, "empty", fail)
    with pytest.raises(CheckpointError, match="MemoryError"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("state.json", b"[]"),
        ("state.json", b'{"x": NaN}'),
        ("state.json", b'{"x": '),
        ("state.json", b'{"x": ' * 100_000),
        ("tensors.safetensors", b""),
        ("tensors.safetensors", b"\xff" * 100),
        ("tensors.safetensors", pickle.dumps(Bomb())),
        ("tensors.safetensors", safetensors.torch.save({"t": torch.ones(9)})[:-4]),
        ("tensors.safetensors", UNKNOWN_TO_TORCH),
        ("arrays/a.npy", b""),
    ],
    ids=brief,
)
def test_forged_members_are_refused(path, member, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(path, make_checkpoint())
    rewrite(path, {member: content})
    with pytest.raises(CheckpointError, match=f"unreadable member {member}"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(path, compression):
    write_checkpoint(path, make_checkpoint())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"unexpected compression"):
        read_checkpoint(path)


def test_a_missing_file_and_a_folder_are_checkpoint_errors_that_name_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.zip does not exist"):
        read_checkpoint(tmp_path / "nothing.zip")
    with pytest.raises(CheckpointError, match=f"{tmp_path.name} cannot be read"):
        read_checkpoint(str(tmp_path))


@pytest.mark.parametrize("broken", ["os.fsync", "os.replace", "numpy.lib.format.write_array"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_write_that_fails_leaves_the_previous_checkpoint_and_no_litter(path, monkeypatch, broken, error):
    write_checkpoint(path, make_checkpoint(1.5))

    def fail(*_args: object, **_keywords: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(type(error)):
            write_checkpoint(path, make_checkpoint(2.5))
    require_equal(make_checkpoint(1.5), read_checkpoint(path))
    assert list(path.parent.iterdir()) == [path]


def test_the_earlier_file_is_replaced_only_after_the_new_one_reached_the_disk(path, monkeypatch):
    events = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (events.append(name), real(*a))[1])
    write_checkpoint(path, make_checkpoint())
    assert events == ["fsync", "replace", "fsync"]


def test_what_a_killed_attempt_left_is_no_checkpoint_and_goes_with_the_next_write(path):
    write_checkpoint(path, make_checkpoint(1.5))
    dead, bystander = path.with_name(f".{path.name}.4194305.partial"), path.with_name(f".other{path.name}.1.partial")
    own = path.with_name(f".{path.name}.{os.getpid()}.partial")
    for litter in (dead, own, bystander):
        litter.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="partial is not a jepa_rl checkpoint"):
        read_checkpoint(dead)
    write_checkpoint(path, make_checkpoint(2.5))
    require_equal(make_checkpoint(2.5), read_checkpoint(path))
    assert sorted(path.parent.iterdir()) == sorted([path, bystander])


def test_a_folder_that_cannot_be_written_is_an_os_error_that_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for target, error in (
        (tmp_path / "missing" / "agent.zip", FileNotFoundError),
        (tmp_path / "file" / "agent.zip", NotADirectoryError),
        (tmp_path / "folder", IsADirectoryError),
    ):
        with pytest.raises(error, match=r"cannot write the checkpoint: .*: '.*'"):
            write_checkpoint(target, make_checkpoint())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_a_checkpoint_has_the_permissions_of_any_new_file(path, tmp_path):
    write_checkpoint(path, make_checkpoint())
    (tmp_path / "plain").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: "x"}, (1, 2), np.float32(1), torch.ones(1), {1, 2}])
def test_a_state_that_json_would_alter_is_refused_before_anything_is_written(path, value):
    with pytest.raises(ValueError, match=r"Checkpoint\.state must be"):
        write_checkpoint(path, Checkpoint(state={"x": value}, tensors={}, arrays={}))
    assert not list(path.parent.iterdir())


def test_tensors_that_safetensors_cannot_hold_are_refused(path):
    with pytest.raises(TypeError, match=r"tensors\['t'\] must be a dense"):
        Checkpoint(state={}, tensors={"t": torch.ones(2, 2).to_sparse()}, arrays={})
    with pytest.raises(TypeError, match="must be a dense"):
        Checkpoint(state={}, tensors={"t": np.ones(2)}, arrays={})
    with pytest.raises(ValueError, match="__metadata__"):
        Checkpoint(state={}, tensors={"__metadata__": torch.ones(1)}, arrays={})
    with pytest.raises(TypeError, match="complex128"):
        write_checkpoint(path, Checkpoint(state={}, tensors={"t": torch.ones(1, dtype=torch.complex128)}, arrays={}))


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "a//b", ".hidden", "a b", "ä"])
def test_array_names_that_are_no_plain_relative_path_are_refused(name):
    with pytest.raises(ValueError, match=r"Checkpoint\.arrays: "):
        Checkpoint(state={}, tensors={}, arrays={name: np.zeros(1)})
