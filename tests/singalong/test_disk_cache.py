"""A cache with a limit: what goes first, and what never goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import singalong.disk_cache as disk_cache
from singalong.disk_cache import DiskCache, using


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "GRACE_S", 0.0)


def there(folder: Path) -> bool:
    return (folder / "data").is_file()


def of(num_bytes: int) -> Callable[[Path], None]:
    return lambda folder: (folder / "data").write_bytes(b"x" * num_bytes) and None


def entries(root: Path) -> set[str]:
    return {path.parent.name for path in (root / "e").rglob("data")}


def tick(folder: Path) -> None:
    """Wait until what is touched gets another time: kernels tell it in steps of up to 10 ms, some disks of 1 s."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == before:
        time.sleep(0.001)
        os.utime(probe)
    probe.unlink()


def put(cache: DiskCache, *names: str, num_bytes: int = 100) -> None:
    for name in names:
        cache.get(f"e/{name}", there, of(num_bytes))
        tick(cache.root)


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=350)
    put(cache, "a", "b", "c", "a", "d")
    assert entries(tmp_path) == {"a", "c", "d"}
    assert cache.num_bytes() <= 350


def test_without_a_limit_nothing_goes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=None)
    put(cache, *"abcdef", num_bytes=10_000)
    assert cache.trim() == 0
    assert entries(tmp_path) == set("abcdef")


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=150)
    with using():
        put(cache, "a")
        with using():
            put(cache, "b", "c")
        assert entries(tmp_path) == {"a", "b", "c"}
        put(cache, "d")
        assert {"a", "d"} <= entries(tmp_path)
    cache.trim()
    assert cache.num_bytes() <= 150


def test_what_another_process_uses_stays_until_it_dies(tmp_path: Path) -> None:
    script = """if True:
        import sys, pathlib
        from singalong.disk_cache import DiskCache, using
        cache = DiskCache(pathlib.Path(sys.argv[1]), limit_bytes=150)
        with using():
            cache.get("e/a", lambda f: (f / "data").is_file(), lambda f: None)
            print("holds", flush=True); sys.stdin.readline()
    """
    cache = DiskCache(tmp_path, limit_bytes=150)
    put(cache, "a")
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        put(cache, "b", "c")
        assert "a" in entries(tmp_path)
        child.kill()
    put(cache, "d")
    assert "a" not in entries(tmp_path)


def test_what_was_handed_out_just_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "GRACE_S", 30.0)
    cache = DiskCache(tmp_path, limit_bytes=150)
    put(cache, "a", "b", "c")
    assert entries(tmp_path) == {"a", "b", "c"}
    long_ago = time.time() - 60
    for path in (tmp_path / "uses").rglob("*.json"):
        os.utime(path, (long_ago, long_ago))
    assert cache.trim() > 0


def test_many_who_want_the_same_fetch_it_once(tmp_path: Path) -> None:
    cache, fetched = DiskCache(tmp_path, limit_bytes=None), []

    def fetch(folder: Path) -> None:
        fetched.append(1)
        time.sleep(0.1)
        of(10)(folder)

    threads = [threading.Thread(target=cache.get, args=("e/a", there, fetch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_a_fetch_that_fails_is_tried_by_the_next(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=1000)

    def fail(_: Path) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        cache.get("e/a", there, fail)
    put(cache, "a")
    assert entries(tmp_path) == {"a"}


def test_what_was_removed_is_fetched_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit_bytes=150)
    put(cache, "a", "b", "c", "a")
    assert "a" in entries(tmp_path)


def test_processes_that_fetch_use_and_remove_at_once_never_miss_what_they_use(tmp_path: Path) -> None:
    script = """if True:
        import random, sys, pathlib
        import singalong.disk_cache as disk_cache
        from singalong.disk_cache import DiskCache, using
        disk_cache.GRACE_S = 0.0
        cache, rng = DiskCache(pathlib.Path(sys.argv[1]), limit_bytes=5000), random.Random(int(sys.argv[2]))
        def there(folder): return (folder / "data").is_file()
        def fetch(folder): (folder / "data").write_bytes(b"x" * 1000)
        for _ in range(200):
            name = f"e/{rng.randrange(20)}"
            with using():
                folder = cache.get(name, there, fetch)
                assert (folder / "data").stat().st_size == 1000
                cache.trim()
                assert (folder / "data").read_bytes() == b"x" * 1000
        print("well")
    """
    command = [sys.executable, "-c", script, str(tmp_path)]
    children = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(3)]
    assert [child.communicate(timeout=60)[0] for child in children] == ["well\n"] * 3
    cache = DiskCache(tmp_path, limit_bytes=5000)
    cache.trim()
    assert cache.num_bytes() <= 5000
