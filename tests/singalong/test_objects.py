"""Object stores, on a server that speaks S3."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from singalong.errors import InputError, TransientIOError, UsageError
from singalong.objects import PART_BYTES, ObjectFolder, is_url, object_at, relative_url, split_url
from tests.object_server import ObjectServer


@pytest.fixture
def folder(bucket_url: str) -> ObjectFolder:
    return ObjectFolder.at(f"{bucket_url}/some folder/ü")


def run_python(script: str, *args: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script, *args], env=dict(os.environ), **pipes)  # type: ignore


# ---- names


def test_urls_are_told_from_paths() -> None:
    assert is_url("s3://bucket/key")
    assert is_url("S3://bucket")
    assert not any(is_url(text) for text in ("clip.mp4", "/a/b", "s3:/bucket", "c:\\x", Path("s3://bucket/key")))


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "s3://-", "s3://b/../x", "s3://bu/a//b", "s3://bu/a\nb", "x"])
def test_urls_that_name_nothing_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be the name.*expected s3://"):
        split_url(url)


def test_names_in_a_file_at_a_url_are_relative_to_it() -> None:
    base = "s3://bucket/songs/2024"
    assert relative_url(base, "clips/a b.mp4") == "s3://bucket/songs/2024/clips/a b.mp4"
    assert relative_url(base, "../../a.mp4") == "s3://bucket/a.mp4"
    assert relative_url(base, "/a.mp4") == "s3://bucket/a.mp4"
    assert relative_url(base, "s3://other/a.mp4") == "s3://other/a.mp4"
    with pytest.raises(UsageError, match=r"\.\./\.\./\.\./a\.mp4"):
        relative_url(base, "../../../a.mp4")


def test_an_objects_url_is_taken_apart() -> None:
    assert object_at("s3://bucket/a/b.mp4") == (ObjectFolder("bucket", "a"), "b.mp4")
    with pytest.raises(UsageError):
        object_at("s3://bucket")


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/a", "a/", "a//b", "a\0", "x" * 1100, "\ud800"])
def test_hostile_keys_are_refused_before_they_travel(key: str) -> None:
    folder = ObjectFolder.at("s3://bucket/x")
    for use in (folder.read, folder.head, folder.delete, folder.join, lambda k: folder.write(k, b"")):
        with pytest.raises(UsageError) as caught:
            use(key)
        str(caught.value).encode()


def test_strange_names_are_kept_as_they_are(folder: ObjectFolder) -> None:
    names = ["a b", "a%20b", "a#b", "a?b=c&d", "a+b", "a:b", "a\\b", "'\"<>*~", "日本😀", "..a", "x.tmp"]
    for name in names:
        folder.write(name, name.encode())
    assert {facts.key for facts in folder.list()} == set(names)
    assert all(folder.read(name) == name.encode() for name in names)


# ---- objects


def test_what_is_written_is_read(folder: ObjectFolder) -> None:
    folder.write("a", b"1")
    folder.write("a", b"22")
    facts = folder.head("a")
    assert folder.read("a") == b"22"
    assert facts is not None
    assert (facts.key, facts.size) == ("a", 2)
    assert facts.etag
    folder.delete("a")
    folder.delete("a")
    assert folder.head("a") is None
    with pytest.raises(FileNotFoundError, match="some folder"):
        folder.read("a")


def test_a_folder_travels_between_processes(folder: ObjectFolder) -> None:
    folder.write("a", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1"


def test_lists_are_whole_and_stay_in_their_folder(folder: ObjectFolder, bucket_url: str) -> None:
    whole = ObjectFolder.at(bucket_url)
    whole.write("some folder/üx", b"beside")
    whole.write("beside", b"")
    for name in ("b/1", "b/2", "bb", "a"):
        folder.write(name, b"")
    assert [facts.key for facts in folder.list()] == ["a", "b/1", "b/2", "bb"]
    assert [facts.key for facts in folder.list("b")] == ["b/1", "b/2"]
    assert len(list(whole.list())) == 6
    assert list(ObjectFolder.at(f"{bucket_url}/nothing").list()) == []


def test_lists_of_more_than_a_page_are_whole(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singalong.objects._PAGE", 2)
    for number in range(5):
        folder.write(f"n/{number}", b"")
    assert [facts.key for facts in folder.list("n")] == [f"n/{number}" for number in range(5)]


def test_large_files_go_up_in_parts_and_come_down_whole(
    folder: ObjectFolder, object_server: ObjectServer, tmp_path: Path
) -> None:
    content = os.urandom(20_000_000)
    (tmp_path / "big").write_bytes(content)
    object_server.requests()
    folder.upload("big", tmp_path / "big")
    assert sum("partNumber" in request for request in object_server.requests()) == 3
    facts = folder.download("big", tmp_path / "sub" / "back")
    assert (tmp_path / "sub" / "back").read_bytes() == content
    assert facts.size == len(content)


def test_memory_does_not_grow_with_the_file(folder: ObjectFolder, tmp_path: Path) -> None:
    script = """if True:
        import resource, sys, pathlib
        from singalong.objects import ObjectFolder
        folder, big = ObjectFolder.at(sys.argv[1]), pathlib.Path(sys.argv[2])
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        for name in sys.argv[3:]:
            with big.open("wb") as file:
                for _ in range(int(name)): file.write(b"x" * (1 << 20))
            folder.upload(name, big); folder.download(name, big)
            print(peak())
    """
    with run_python(script, folder.url, str(tmp_path / "big"), "40", "200") as child:
        out, err = child.communicate(timeout=100)
    assert child.returncode == 0, err
    small, large = map(int, out.split())
    assert large - small < 40, f"{small} MB for 40, {large} MB for 200"


def test_empty_files_come_and_go(folder: ObjectFolder, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    folder.upload("a", tmp_path / "a")
    folder.download("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""


def test_a_failed_download_leaves_no_file(folder: ObjectFolder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        folder.download("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# ---- create-only


def test_only_one_creates(folder: ObjectFolder, tmp_path: Path) -> None:
    folder.create("a", b"1")
    with pytest.raises(FileExistsError):
        folder.create("a", b"2")
    (tmp_path / "f").write_bytes(b"3")
    with pytest.raises(FileExistsError):
        folder.create_from("a", tmp_path / "f")
    assert folder.read("a") == b"1"


def test_what_cannot_be_created_in_one_piece_is_refused(folder: ObjectFolder, tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(InputError, match="one piece"):
        folder.create_from("a", tmp_path / "f")


def test_of_many_processes_exactly_one_creates_each_key(folder: ObjectFolder) -> None:
    script = """if True:
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from singalong.objects import ObjectFolder
        folder, me = ObjectFolder.at(sys.argv[1]), sys.argv[2]
        folder.check(); print("ready", flush=True); sys.stdin.readline()
        def create(number):
            try:
                folder.create(f"key{number}", me.encode())
            except FileExistsError:
                return ""
            return f"{number} "
        with ThreadPoolExecutor(4) as pool:
            print("".join(pool.map(create, range(40))))
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", script, folder.url]
    children = [subprocess.Popen([*command, str(n)], env=dict(os.environ), **pipes) for n in range(5)]  # type: ignore
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    won = [{int(number) for number in child.communicate(timeout=60)[0].split()} for child in children]
    assert sorted(number for numbers in won for number in numbers) == list(range(40))
    for me, numbers in enumerate(won):
        assert all(folder.read(f"key{number}") == str(me).encode() for number in numbers)


def test_a_creator_whose_answer_was_lost_knows_that_it_won(folder: ObjectFolder, object_server: ObjectServer) -> None:
    object_server.swallow_answers(1)
    folder.create("a", b"same")
    with pytest.raises(FileExistsError):
        folder.create("a", b"same")


def test_creating_goes_on_where_the_store_refused_both_of_two(
    folder: ObjectFolder, object_server: ObjectServer
) -> None:
    object_server.answer_next(1, 409, "ConditionalRequestConflict")
    folder.create("a", b"1")
    assert folder.read("a") == b"1"


# ---- a store that fails


def test_a_store_that_is_lost_for_seconds_is_waited_for(folder: ObjectFolder, object_server: ObjectServer) -> None:
    folder.write("a", b"1")
    object_server.lose()
    threading.Timer(1.0, object_server.regain).start()
    assert folder.read("a") == b"1"


def test_a_store_that_stands_still_is_waited_for(folder: ObjectFolder, object_server: ObjectServer) -> None:
    folder.write("a", b"1")
    object_server.pause()
    threading.Timer(1.0, object_server.resume).start()
    assert folder.read("a") == b"1"


def test_an_upload_survives_the_loss_of_the_store_in_its_middle(
    folder: ObjectFolder, object_server: ObjectServer, tmp_path: Path
) -> None:
    content = os.urandom(2 * PART_BYTES + 5)
    (tmp_path / "big").write_bytes(content)
    object_server.lose_for(1.5, after_bytes=PART_BYTES // 2)
    folder.upload("big", tmp_path / "big")
    folder.download("big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")])
def test_answers_that_pass_are_tried_again(
    folder: ObjectFolder, object_server: ObjectServer, status: int, code: str
) -> None:
    object_server.answer_next(2, status, code)
    folder.write("a", b"1")
    assert folder.read("a") == b"1"


def test_who_waits_long_is_told(
    folder: ObjectFolder,
    object_server: ObjectServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("singalong.object_calls._TOLD_AFTER_S", 0.1)
    object_server.answer_next(3, 503, "SlowDown")
    with caplog.at_level(logging.WARNING):
        folder.write("a", b"1")
    assert ["does not answer" in record.message for record in caplog.records] == [True]


def test_a_store_that_stays_away_is_a_failure_that_may_pass(
    folder: ObjectFolder, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.5")
    object_server.lose()
    with pytest.raises(TransientIOError, match=r"s3://.*does not answer.*AWS_ENDPOINT_URL"):
        folder.read("a")


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "AccessDenied", r"access is denied.*s3:PutObject"),
        (403, "InvalidAccessKeyId", r"does not know this access key.*AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", r"secret key does not fit"),
        (400, "ExpiredToken", r"expired.*run again"),
        (301, "PermanentRedirect", r"another region.*AWS_REGION"),
        (403, "RequestTimeTooSkewed", r"clock"),
        (400, "SomethingElse", r"refuses the request with 400 SomethingElse"),
    ],
)
def test_refusals_are_told_at_once_in_plain_words(
    folder: ObjectFolder, object_server: ObjectServer, status: int, code: str, says: str
) -> None:
    object_server.answer_next(100, status, code)
    with pytest.raises(UsageError, match=says):
        folder.read("a")
    assert len(object_server.requests()) <= 3


def test_a_missing_bucket_is_named(object_server: ObjectServer) -> None:
    with pytest.raises(UsageError, match=r"s3://no-such-bucket.*no such bucket"):
        ObjectFolder.at("s3://no-such-bucket/x").check()
    with pytest.raises(UsageError, match="no such bucket"):
        ObjectFolder.at("s3://no-such-bucket/x").create("a", b"")


def test_missing_credentials_are_told(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UsageError, match="AccessKeyId"):
        ObjectFolder.at("s3://bucket").check()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Where a cloud's machines ask who they are; here nothing answers there.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.3")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UsageError, match="no credentials were found"):
        ObjectFolder.at("s3://bucket").check()


def test_keys_of_the_users_profile_are_used(
    folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = a\naws_secret_access_key = b%c\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "work")
    folder.check()
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    with pytest.raises(UsageError, match=r"no such profile.*wrok"):
        folder.check()


@pytest.mark.parametrize("endpoint", ["localhost:9000", "gibberish", "ftp://x", "http://"])
def test_an_address_that_is_none_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is no address"):
        ObjectFolder.at("s3://bucket").check()


def test_a_host_that_nobody_knows_is_told(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid:9000")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("SINGALONG_OBJECT_RETRY_S", "0.3")
    with pytest.raises(UsageError, match="host name cannot be found"):
        ObjectFolder.at("s3://bucket").check()


def test_ctrl_c_is_heard_while_the_store_stands_still(folder: ObjectFolder, object_server: ObjectServer) -> None:
    folder.write("a", b"1")
    script = """if True:
        import sys
        from singalong.objects import ObjectFolder
        folder = ObjectFolder.at(sys.argv[1]); folder.read("a"); print("up", flush=True); sys.stdin.readline()
        try:
            print("asks", flush=True)
            folder.read("a")
        except KeyboardInterrupt:
            print("heard", flush=True)
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = dict(os.environ) | {"SINGALONG_OBJECT_RETRY_S": "200"}
    with subprocess.Popen([sys.executable, "-c", script, folder.url], env=environment, **pipes) as child:  # type: ignore
        child.stdout.readline()
        object_server.pause()
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    object_server.resume()
    assert "heard" in out
    assert (child.returncode, err) == (0, "")
