"""How much memory there is, and that libraries which crash for want of it aren't let near its end."""

import subprocess
import sys

import pytest

from surfrecon import headroom


def limited(code: str) -> subprocess.CompletedProcess:
    """A Python process with a limit of 1 GB on its addresses."""

    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))

    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, check=False)


def test_memory_is_told_in_bytes():
    free, peak = headroom.available(), headroom.peak()
    assert free is None or free > 2**20
    assert peak is None or peak > 2**24


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_a_limit_on_addresses_counts_as_memory():
    assert 0.8e9 < int(limited("from surfrecon import headroom\nprint(headroom.available())").stdout) < 1e9


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
def test_a_containers_limit_counts_but_not_its_cache_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(headroom, "CGROUP", tmp_path)
    monkeypatch.setattr(headroom, "free_addresses", lambda: None)
    kinds = "anon 9000000\nactive_file 5000000\ninactive_file 30000000\n"
    for name, text in (("max", "50000000"), ("current", "49000000"), ("stat", kinds)):
        (tmp_path / f"memory.{name}").write_text(text)
    assert headroom.available() == 36_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert headroom.available() > 36_000_000


def test_what_is_not_there_is_a_memory_error_in_time(monkeypatch):
    monkeypatch.setattr(headroom, "available", lambda swap: 5_000_000)
    headroom.demand(4e6, "a little")
    with pytest.raises(MemoryError, match="too much takes 6 MB"):
        headroom.demand(6e6, "too much")
    monkeypatch.setattr(headroom, "available", lambda swap: None)
    headroom.demand(1e18, "whatever it is where the system says nothing")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_a_scene_without_memory_for_it_is_an_error_and_no_crash():
    scene = "import numpy as np\nfrom surfrecon.geometry import Mesh\nfrom surfrecon.pictures import Scene\n"
    fill = "from surfrecon import headroom\nheld = np.zeros(headroom.available() - 60_000_000, np.uint8)\n"
    done = limited(f"import embreex.mesh_construction\n{scene}{fill}Scene(Mesh(np.eye(3), np.array([[0, 1, 2]])))")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("MemoryError: a scene of 1 faces takes ")
