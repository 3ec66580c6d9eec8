"""Files appear whole or not at all: whatever fails, the old file stays and nothing is left beside it."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from surfrecon.errors import InputError, ResourceError
from surfrecon.geometry import Similarity, TexturedMesh
from surfrecon.io import MESH_WRITERS, SCAN_WRITERS, atomic, read_mesh, read_scan, write_mesh, write_scan, write_textured
from surfrecon.io.atomic import replacing

UTM = Similarity(1, [8e5, 5.8e6, 0])  # STL takes a second file there
WRITERS = [(write_mesh, suffix) for suffix in MESH_WRITERS] + [(write_scan, suffix) for suffix in SCAN_WRITERS]
EVERY_WRITER = pytest.mark.parametrize("write, suffix", WRITERS, ids=[f"{write.__name__}{suffix}" for write, suffix in WRITERS])
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file systems")


@pytest.fixture
def item(sphere, cloud):
    """A function from a writer to what it writes."""
    return lambda write: sphere.transformed(UTM) if write is write_mesh else cloud


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def file_size_limit(size: int):
    """As if the disk were full behind `size` bytes of each file."""
    resource = pytest.importorskip("resource", reason="file size limits are POSIX")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


class FailsHalfWay:
    """A file that writes its first bytes, then fails."""

    def __init__(self, file, error: BaseException):
        self.file, self.error = file, error

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.file.write(bytes(data)[:10])
        raise self.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def test_the_file_appears_at_the_end_and_not_before(folder):
    with replacing(folder / "a.txt") as file:
        file.write(b"new")
        assert not (folder / "a.txt").exists()
    assert contents(folder) == {"a.txt": b"new"}


def test_the_old_file_can_be_read_until_the_new_one_is_whole(folder):
    (folder / "a.txt").write_bytes(b"old")
    with replacing(folder / "a.txt") as file:
        file.write(b"new")
        file.flush()
        assert (folder / "a.txt").read_bytes() == b"old"
    assert contents(folder) == {"a.txt": b"new"}


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(), MemoryError(), InputError("x")])
@pytest.mark.parametrize("old", [{}, {"a.txt": b"old"}], ids=["new", "replaced"])
def test_any_failure_in_the_block_passes_through_and_leaves_what_was_there(folder, error, old):
    for name, data in old.items():
        (folder / name).write_bytes(data)
    with pytest.raises(type(error)) as caught, replacing(folder / "a.txt") as file:
        file.write(b"half of")
        raise error
    assert caught.value is error and contents(folder) == old


def test_two_writers_of_one_name_do_not_meet(folder):
    with replacing(folder / "a.txt") as one, replacing(folder / "a.txt") as two:
        one.write(b"one")
        two.write(b"two")
    assert contents(folder) == {"a.txt": b"one"}  # the outer one ends last


@EVERY_WRITER
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_a_writer_that_fails_half_way_leaves_the_old_file_and_nothing_else(folder, item, monkeypatch, write, suffix, error):
    path = folder / f"a{suffix}"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic, "open", lambda *args: FailsHalfWay(open(*args), error), raising=False)
    with pytest.raises(InputError if isinstance(error, OSError) else type(error)) as caught:
        write(item(write), path)
    assert contents(folder) == {path.name: b"old"} and (caught.value is error or str(caught.value).startswith(str(path)))


@POSIX
@EVERY_WRITER
@pytest.mark.parametrize("size", [0, 1, 3000])
def test_a_full_disk_is_named_and_leaves_the_old_file_and_nothing_else(folder, item, write, suffix, size):
    path = folder / f"a{suffix}"
    path.write_bytes(b"old")
    with file_size_limit(size), pytest.raises(ResourceError, match="disk is full or a size limit"):
        write(item(write), path)
    assert contents(folder) == {path.name: b"old"}


@POSIX
def test_a_textured_obj_that_finds_no_room_leaves_none_of_its_three_files(folder, sphere):
    uv = np.random.default_rng(0).random((len(sphere.faces), 3, 2))
    textured = TexturedMesh(sphere, uv, np.zeros((8, 8, 3), np.uint8))
    for name in ("a.obj", "a.mtl", "a.png"):
        (folder / name).write_bytes(b"old")
    with file_size_limit(3000), pytest.raises(ResourceError, match="disk is full or a size limit"):
        write_textured(textured, folder / "a.obj")
    assert contents(folder) == dict.fromkeys(("a.obj", "a.mtl", "a.png"), b"old")


@POSIX
def test_an_stl_whose_second_file_fails_leaves_neither(folder, sphere):
    (folder / "a.stl").write_bytes(b"old")
    (folder / "a.stl.origin.json").mkdir()
    with pytest.raises(InputError, match=r"a\.stl\.origin\.json cannot be written: it is a folder"):
        write_mesh(sphere.transformed(UTM), folder / "a.stl")
    with pytest.raises(InputError, match=r"a\.stl cannot be written: Is a directory"):
        write_mesh(sphere, folder / "a.stl")
    assert sorted(path.name for path in folder.iterdir()) == ["a.stl", "a.stl.origin.json"]


@EVERY_WRITER
def test_a_missing_folder_is_named(folder, item, write, suffix):
    path = folder / "none" / f"a{suffix}"
    with pytest.raises(InputError, match="its folder does not exist, create it first") as caught:
        write(item(write), path)
    assert str(caught.value).startswith(f"{path} cannot be written") and contents(folder) == {}


@EVERY_WRITER
def test_a_file_in_place_of_the_folder_is_named(folder, item, write, suffix):
    (folder / "file").write_bytes(b"old")
    with pytest.raises(InputError, match="cannot be written"):
        write(item(write), folder / "file" / f"a{suffix}")
    assert contents(folder) == {"file": b"old"}


@EVERY_WRITER
def test_a_folder_of_the_files_name_is_named_and_nothing_appears(folder, item, write, suffix):
    (folder / f"a{suffix}").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        write(item(write), folder / f"a{suffix}")
    assert [path.name for path in folder.iterdir()] == [f"a{suffix}"] and not [*(folder / f"a{suffix}").iterdir()]


@EVERY_WRITER
def test_a_folder_that_is_closed_to_us_is_named(folder, item, monkeypatch, write, suffix):
    def closed(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(atomic, "open", closed, raising=False)
    with pytest.raises(InputError, match="cannot be written: Permission denied") as caught:
        write(item(write), folder / f"a{suffix}")
    assert str(caught.value).startswith(str(folder / f"a{suffix}")) and contents(folder) == {}


@POSIX
def test_a_folder_that_is_closed_in_earnest(folder, cloud):
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(InputError, match="Permission denied"):
            write_scan(cloud, folder / "a.ply")
    finally:
        folder.chmod(0o700)
    assert contents(folder) == {}


@POSIX
def test_a_process_killed_half_way_leaves_the_old_file(folder):
    (folder / "a.txt").write_bytes(b"old")
    program = "import os, sys; from surfrecon.io.atomic import replacing\n"
    program += "with replacing(sys.argv[1]) as file: file.write(b'half of'); file.flush(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", program, str(folder / "a.txt")], check=False).returncode == -9
    assert (folder / "a.txt").read_bytes() == b"old"


@POSIX
def test_a_link_stays_and_its_file_is_replaced(folder):
    (folder / "real").mkdir()
    (folder / "real" / "a.txt").write_bytes(b"old")
    (folder / "link.txt").symlink_to(folder / "real" / "a.txt")
    with replacing(folder / "link.txt") as file:
        file.write(b"new")
    assert (folder / "link.txt").is_symlink() and contents(folder / "real") == {"a.txt": b"new"}


@EVERY_WRITER
def test_a_file_may_be_replaced_by_what_was_read_from_it(folder, item, write, suffix):
    read = read_mesh if write is write_mesh else read_scan
    path = folder / f"a{suffix}"
    write(item(write), path)
    write(read(path), path)
    points = [one.vertices if write is write_mesh else one.points for one in (read(path), item(write))]
    assert np.sort(points[0], axis=0) == pytest.approx(np.sort(points[1], axis=0), rel=0, abs=1e-5)


@pytest.mark.parametrize("read", [read_mesh, read_scan])
def test_what_cannot_be_read_is_named_with_its_reason(folder, read):
    (folder / "folder.ply").mkdir()
    (folder / "a.docx").write_bytes(b"")
    for name, reason in {
        "none.ply": "there is no such file",
        "folder.ply": "a folder or a device",
        "a.docx": "cannot be read from '.docx'; known are",
        "none": "cannot be read from a name without suffix; known are",
        "zero\0.ply": "there is no such file",
        "x" * 300 + ".ply": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=reason) as caught:
            read(folder / name)
        assert str(caught.value).startswith(f"{folder / name}: ")
