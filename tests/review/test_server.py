"""The server: nobody but our own page gets anything, and a decision that was answered is on the disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from singalong.reviews import Decision, Ruling, read_decisions, record_decision
from singalong.runfolder import RunFolder
from tests.review.builders import FILM, HOSTILE, TOKEN, report_row, reviewable, run_of, served, small_run
from tests.singalong.builders import pair_row, sha, touch

PATHS = (
    "/",
    "/static/main.js",
    "/api/run",
    "/api/pairs",
    "/api/pair?pair=p1",
    "/media/film?pair=p1",
    "/media/clip?pair=p1",
    "/api/faces?pair=p1",
    "/api/viewable?pair=p1",
    "/media/viewable?pair=p1",
)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A run about which nobody decides anything, and where it is served."""
    run, rows = small_run(tmp_path_factory.mktemp("quiet"))
    with served(reviewable(run, rows), TOKEN) as address:
        yield run.path, address


@pytest.fixture
def stranger(quiet: tuple[Path, str]) -> Iterator[Client]:
    """Somebody who was not given the token."""
    with Client(base_url=quiet[1]) as client:
        yield client


@pytest.fixture
def page(stranger: Client) -> Client:
    """A browser that opened the address with the token."""
    return opened(stranger)


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, list[Any]]:
    return small_run(tmp_path)


@pytest.fixture
def desk(run: tuple[RunFolder, list[Any]]) -> Iterator[Client]:
    """A browser in which somebody decides about `run`."""
    with served(reviewable(*run), TOKEN) as address, Client(base_url=address) as client:
        yield opened(client)


def opened(client: Client) -> Client:
    assert client.get("/", params={"token": TOKEN}).status_code == 200
    return client


def sent(pair: str = "p1", ruling: str = "accept", **values: Any) -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "pair": pair, "film": sha(pair), "ruling": ruling, "reviewer": "ann"} | values


def origin(client: Client) -> str:
    return str(client.base_url).rstrip("/")


def send(client: Client, content: dict[str, Any], **headers: str) -> Any:
    return client.post("/api/decisions", json=content, headers={"origin": origin(client)} | headers)


# ---- what can be asked for


def test_what_is_asked_while_one_types_is_answered_not_refused(page: Client) -> None:
    headers = {"origin": origin(page)}
    told = page.post("/api/check", json={"pair": "p1", "settings": ["lipsync.mask=box"]}, headers=headers)
    assert (told.status_code, told.json()) == (200, {"problem": None})
    told = page.post("/api/check", json={"pair": "p1", "settings": ["lipsync.maks=box"]}, headers=headers)
    assert told.status_code == 200
    assert "Did you mean lipsync.mask" in told.json()["problem"]
    assert page.post("/api/check", json={"pair": "nobody", "settings": []}, headers=headers).status_code == 404
    assert page.post("/api/check", json={"pair": "p1", "settings": ["x" * 501]}, headers=headers).status_code == 422
    assert page.post("/api/check", json={"pair": "p1", "settings": []}).status_code == 403, "it does not say its page"
    faces = page.get("/api/faces?pair=p1&at_s=1.5").json()
    assert (faces["faces"], "no analysis" in faces["problem"]) == ([], True)
    assert page.get("/media/viewable?pair=p1").status_code == 422


# ---- who may come in


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_given_away(stranger: Client, path: str) -> None:
    for query in ("", "token=", "token=wrong"):
        answer = stranger.get(path + ("&" if "?" in path else "?") + query)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert stranger.get(path, headers={"cookie": f"singalong_review_{stranger.base_url.port}=wrong"}).status_code == 403


def test_the_token_opens_the_page_only_and_becomes_a_cookie_no_script_can_read(stranger: Client) -> None:
    assert stranger.get("/api/run", params={"token": TOKEN}).status_code == 403
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert stranger.get("/api/run").status_code == 200
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "127.0.0.1.evil.example", "evil@127.0.0.1", "[::1", "", "10.0.0.1:8765"]
)
def test_another_name_for_this_machine_is_refused(page: Client, host: str) -> None:
    assert page.get("/api/pairs", headers={"host": host}).status_code == 403
    assert page.get("/", params={"token": TOKEN}, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "https://127.0.0.1:8765"])
def test_requests_of_other_pages_are_refused(page: Client, quiet: tuple[Path, str], origin: str) -> None:
    assert page.get("/api/pairs", headers={"origin": origin}).status_code == 403
    assert send(page, sent(), origin=origin).status_code == 403
    assert read_decisions(quiet[0]) == {}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_can_neither_show_nor_play_anything(page: Client, site: str) -> None:
    """A page of another local port is of the same site, so that the cookie comes along."""
    for path in PATHS[1:]:
        assert page.get(path, headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403


def test_what_changes_something_must_be_json_of_our_page(page: Client, quiet: tuple[Path, str]) -> None:
    assert page.post("/api/decisions", json=sent()).status_code == 403
    form = page.post("/api/decisions", content="{}", headers={"origin": origin(page), "content-type": "text/plain"})
    assert form.status_code == 403
    assert read_decisions(quiet[0]) == {}


def test_the_near_end_of_a_tunnel_may_have_another_port(page: Client) -> None:
    cookie = {"cookie": f"singalong_review_9000={TOKEN}"}
    assert page.get(
        "/api/run", headers={"host": "localhost:9000", "origin": "http://localhost:9000"} | cookie
    ).is_success


def test_every_answer_forbids_foreign_content_and_frames(page: Client) -> None:
    for path in (*PATHS, "/nowhere", "/api/pair?pair=nobody"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"


# ---- files


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/..%2fguard.py",
            "/static/../guard.py",
            "/static/%2e%2e/server.py",
            "/static/main.js/../../server.py",
        ),
        *(
            "/static//etc/passwd",
            "/media/film?pair=../../etc/passwd",
            "/media/clip?pair=/etc/passwd",
            "/docs",
            "/openapi.json",
        ),
    ],
)
def test_nothing_but_our_own_files_can_be_named(page: Client, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (404, 422)
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_a_report_that_names_a_file_outside_the_run_is_not_obeyed(tmp_path: Path) -> None:
    run, _ = small_run(tmp_path)
    touch(tmp_path / "secret.mp4", b"secret")
    (run.path / "outputs" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    names = {"p1": "../secret.mp4", "p2": "outputs/link.mp4", "p3": str(tmp_path / "secret.mp4")}
    rows = [report_row(name, output=output, thumbnail=output) for name, output in names.items()]
    with served(reviewable(run, rows), TOKEN) as address, Client(base_url=address) as page:
        page.get("/", params={"token": TOKEN})
        for name in names:
            for kind in ("film", "thumb"):
                answer = page.get(f"/media/{kind}", params={"pair": name})
                assert answer.status_code == 422
                assert "outside the run folder" in answer.json()["error"]


def test_a_clip_that_is_no_medium_by_its_name_is_not_shown(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [pair_row(1, clip=str(touch(tmp_path / "passwd", b"root:x")), song_end_s=4)])
    with served(reviewable(run, [report_row("p1")]), TOKEN) as address, Client(base_url=address) as page:
        page.get("/", params={"token": TOKEN})
        assert page.get("/media/clip", params={"pair": "p1"}).status_code == 422


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-9", 206, FILM[:10]),
        ("bytes=100-", 206, FILM[100:]),
        ("bytes=-5", 206, FILM[-5:]),
        (f"bytes={len(FILM)}-", 416, None),
    ],
)
def test_videos_are_given_in_ranges(page: Client, asked: str, status: int, content: bytes | None) -> None:
    answer = page.get("/media/film", params={"pair": "p1"}, headers={"range": asked})
    assert answer.status_code == status
    assert content is None or answer.content == content
    assert page.get("/media/clip", params={"pair": "p1"}).content == FILM[::-1]
    assert page.get("/media/clip", params={"pair": "p1"}).headers["content-type"] == "video/mp4"


# ---- the queue


def test_only_what_changed_is_sent_again_and_nothing_while_nothing_did(desk: Client) -> None:
    first = desk.get("/api/pairs")
    told = first.json()
    assert [row["id"] for row in told["pairs"]] == ["p1", "p2", "p3"]
    assert desk.get("/api/pairs", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert send(desk, sent("p2", "reject", reason="wrong face")).status_code == 200
    query = {"since": told["revision"], "epoch": told["epoch"]}
    again = desk.get("/api/pairs", params=query, headers={"if-none-match": first.headers["etag"]})
    assert [(row["id"], row["decision"]["reason"]) for row in again.json()["pairs"]] == [("p2", "wrong face")]
    assert len(desk.get("/api/pairs", params=query | {"epoch": "another"}).json()["pairs"]) == 3


def test_hostile_names_and_messages_are_passed_on_as_they_are(page: Client) -> None:
    rows = {row["id"]: row for row in page.get("/api/pairs").json()["pairs"]}
    assert rows["p3"]["error"] == HOSTILE
    assert rows["p1"]["tags"] == {"scene": HOSTILE}
    assert page.get("/api/pairs").headers["content-type"] == "application/json"


# ---- decisions


def test_a_decision_that_was_answered_is_on_the_disk_and_sent_twice_it_is_one(
    desk: Client, run: tuple[RunFolder, list[Any]]
) -> None:
    content = sent("p1", "reject", reason="wrong face", note="left one", settings=["lipsync.crf=30"])
    for _ in range(2):
        answer = send(desk, content)
        assert answer.status_code == 200
        assert answer.json()["pair"]["decision"]["ruling"] == "reject"
    assert len(list((run[0].path / "reviews").glob("*.parquet"))) == 1
    found = read_decisions(run[0].path)["p1"]
    assert (found.ruling, found.reviewer, found.settings, found.output_sha256) == (
        *(Ruling.REJECT, "ann", ("lipsync.crf=30",)),
        sha("p1"),
    )


def test_an_undo_in_the_same_instant_comes_after_what_it_takes_back(desk: Client) -> None:
    for _ in range(8):
        send(desk, sent("p1", "reject"))
        assert send(desk, sent("p1", "undo")).json()["pair"]["decision"] is None


def test_decisions_of_others_are_seen_and_a_dispute_is_shown(desk: Client, run: tuple[RunFolder, list[Any]]) -> None:
    send(desk, sent("p1", "accept"))
    other = Decision(pair_id="p1", ruling=Ruling.REJECT, reviewer="bob", decided_at="2999-01-01T00:00:00.000+00:00")
    record_decision(run[0].path, other)
    rows = {row["id"]: row for row in desk.get("/api/pairs").json()["pairs"]}
    decision = rows["p1"]["decision"]
    assert (decision["ruling"], decision["reviewer"], decision["disputed"]) == ("reject", "bob", True)
    assert [one["reviewer"] for one in desk.get("/api/pair?pair=p1").json()["decisions"]] == ["ann", "bob"]


def test_a_decision_about_a_film_that_was_replaced_does_not_count(desk: Client) -> None:
    answer = send(desk, sent("p1", "accept", film="another film"))
    assert answer.json()["pair"]["decision"] is None
    assert answer.json()["pair"]["replaced"]


def test_a_decision_that_was_sent_late_does_not_override_a_later_one(desk: Client) -> None:
    send(desk, sent("p1", "accept", reviewer="bob"))
    assert send(desk, sent("p1", "reject", age_s=60)).json()["pair"]["decision"]["ruling"] == "accept"


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (sent("nobody"), 404, "nobody"),
        (sent(ruling="maybe"), 422, "ruling"),
        (sent(reviewer="  "), 422, "reviewer"),
        (sent(id="../../x"), 422, "id"),
        (sent(ruling="reject", settings=["lipsync.crv=1"]), 422, "lipsync.crf"),
        (sent(ruling="accept", settings=["lipsync.crf=1"]), 422, "rejected"),
        (sent(note="x" * 501), 422, "note"),
        (sent(more=1), 422, "more"),
    ],
)
def test_what_cannot_be_recorded_is_explained(
    page: Client, quiet: tuple[Path, str], content: dict[str, Any], status: int, words: str
) -> None:
    answer = send(page, content)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert read_decisions(quiet[0]) == {}
