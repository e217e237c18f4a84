"""The server's answers to normal, malformed and hostile requests."""

import contextlib
import http.client
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.load import measure
from chifoumi_jax import recipes
from chifoumi_jax.cli import main
from chifoumi_jax.play.game.opponent import choose
from chifoumi_jax.play.game.roles import HANDS
from chifoumi_jax.play.http.limits import Limits
from chifoumi_jax.play.photo_api import explain
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training.program_cache import program_of
from tests.commands import chifoumi, run_code
from tests.hands import hand_or_nothing
from tests.photos import bomb, claims, encode, picture
from tests.playing import Address, jpeg, serving, start_server

LIMITS = Limits(header_seconds=2, body_seconds=2)


@pytest.fixture(scope="module")
def served(
    hands_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Address, Service]]:
    with serving(hands_run, tmp_path_factory.mktemp("runs"), limits=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def server(served: tuple[Address, Service]) -> Address:
    return served[0]


@pytest.fixture(scope="module")
def rock() -> bytes:
    return jpeg(hand_or_nothing("rock", 503, 160))


@pytest.mark.parametrize("path", ["/", "/photos", "/teach"])
def test_a_page_has_only_the_permissions_that_it_needs(server: Address, path: str) -> None:
    page = server.ask("GET", path)
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["permissions-policy"].startswith("camera=(self)")
    assert b"<script>" not in page.content
    assert b' style="' not in page.content
    assert b"//" not in page.content.replace(b"http://www.w3.org", b"")
    assert b'aria-current="page"' in page.content


def test_an_unchanged_asset_is_not_sent_again(server: Address) -> None:
    first = server.ask("GET", "/static/play.js")
    assert first.status == 200
    assert first.headers["content-type"].startswith("text/javascript")
    again = server.ask("GET", "/static/play.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"),
        *("/static/shell.html", "/static/", "/api/", "/play.html", "/..%2f..%2fetc%2fpasswd"),
    ],
)
def test_paths_outside_the_asset_table_are_not_found(server: Address, path: str) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.error) == (404, "not-found")


def test_a_frame_is_classified(server: Address, hands_run: Path, rock: bytes) -> None:
    answer = server.ask("POST", "/api/frame", rock)
    assert answer.status == 200, answer.content
    assert (answer.value["state"], answer.value["label"]) == ("sure", "rock")
    assert sum(answer.value["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_batched_frames_get_the_same_answers_as_single_ones(
    served: tuple[Address, Service], hands_run: Path
) -> None:
    server, _ = served
    frames = [hand_or_nothing(name, 510 + k, 160) for k in range(3) for name in (*HANDS, "nothing")]
    expected = load(hands_run).predict([np.asarray(frame) for frame in frames], batch_size=1)
    found: dict[int, object] = {}

    def ask(place: int) -> None:
        content = encode(frames[place], format="PNG")
        headers = {"Content-Type": "image/png"}
        found[place] = server.ask("POST", "/api/frame", content, headers).value

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, (label, row) in enumerate(zip(*expected, strict=True)):
        answer = found[place]
        assert isinstance(answer, dict)
        assert answer["label"] == label
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-4)


PNG = {"Content-Type": "image/png"}
BAD_PICTURES = {
    "text": (b"hello", {}, 422, "not-an-image"),
    "empty": (b"", {}, 400, "empty"),
    "wrong media type": (b"x", {"Content-Type": "text/plain"}, 415, "not-an-image"),
    "form": (b"x=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "not-an-image"),
    "truncated": (encode(picture(size=(64, 64)), format="PNG")[:400], PNG, 422, "damaged"),
    "too many pixels": (claims(3_000, 3_000)["png"], PNG, 422, "too-large"),
    "bomb": (bomb(), PNG, 422, "too-large"),
    "too many bytes": (b"\xff\xd8\xff" + bytes(LIMITS.frame_bytes), {}, 413, "too-large"),
    "script": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 422, "not-an-image"),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_a_bad_picture_is_one_clear_error(server: Address, kind: str) -> None:
    content, headers, status, code = BAD_PICTURES[kind]
    answer = server.ask("POST", "/api/frame", content, headers)
    assert (answer.status, answer.error) == (status, code)
    assert answer.value["error"]["message"]
    assert server.ask("GET", "/api/health").status == 200


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 200), noise=st.binary(max_size=300))
def test_random_bytes_do_not_break_the_server(
    server: Address, rock: bytes, cut: int, noise: bytes
) -> None:
    answer = server.ask("POST", "/api/frame", rock[:cut] + noise + rock[cut + len(noise) :] or b"x")
    assert answer.status in (200, 422), answer.content


BAD_OBJECTS = [
    ("/api/rounds", b"{", "bad-json"),
    ("/api/rounds", b"[]", "bad-json"),
    ("/api/rounds", b"[" * 10_000, "bad-json"),
    ("/api/rounds", b"\xff", "bad-json"),
    ("/api/rounds", b"{}", "bad-field"),
    ("/api/rounds", b'{"strategy": "cheat", "history": []}', "bad-field"),
    ("/api/rounds", b'{"strategy": "fair", "history": [["rock"]]}', "bad-field"),
    ("/api/rounds", b'{"strategy": "fair", "history": [["rock", {}]]}', "bad-field"),
    ("/api/reveal", b'{"round": "x"}', "bad-field"),
    ("/api/reveal", b'{"round": 1, "hand": "rock"}', "bad-field"),
    ("/api/model", b'{"source": null}', "bad-field"),
    ("/api/teach/classes", b'{"name": 3}', "bad-field"),
    ("/api/teach/learn", b'{"how": "magic"}', "bad-field"),
]


@pytest.mark.parametrize(("path", "content", "code"), BAD_OBJECTS)
def test_a_bad_object_is_one_clear_error(
    server: Address, path: str, content: bytes, code: str
) -> None:
    answer = server.ask("POST", path, content, {"Content-Type": "application/json"})
    assert (answer.status, answer.error) == (400, code)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not-found"),
        ("DELETE", "/api/rounds", None, 405, "wrong-method"),
        ("OPTIONS", "/api/frame", None, 405, "wrong-method"),
        ("POST", "/", {}, 405, "wrong-method"),
        ("POST", "/api/reveal", {"round": "0" * 32, "hand": "rock"}, 409, "no-round"),
        ("POST", "/api/model", {"source": "taught"}, 409, "not-taught"),
        ("POST", "/api/teach/frame", b"x", 409, "not-taught"),
        ("POST", "/api/teach/learn", {"how": "cnn"}, 409, "too-few"),
        ("POST", "/api/teach/classes/77/frames", b"x", 404, "no-class"),
        ("DELETE", f"/api/teach/classes/{'9' * 5_000}", None, 404, "no-class"),
        ("POST", "/api/rounds", {"x": "y" * 30_000}, 413, "too-large"),
    ],
)
def test_an_impossible_request_is_one_clear_error(
    server: Address, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = server.ask(method, path, body)
    assert (answer.status, answer.error) == (status, code)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "wrong-host"),
        ({"Host": "evil.example:{port}"}, 421, "wrong-host"),
        ({"Host": "[::1"}, 421, "wrong-host"),
        ({"Host": "evil@localhost"}, 421, "wrong-host"),
        ({"Host": "localhost/evil.example"}, 421, "wrong-host"),
        ({"Host": "localhost:port"}, 421, "wrong-host"),
        ({"Origin": "http://["}, 403, "foreign-origin"),
        ({"Origin": "http://evil.example"}, 403, "foreign-origin"),
        ({"Origin": "null"}, 403, "foreign-origin"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "foreign-origin"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "foreign-origin"),
        ({"Sec-Fetch-Site": "same-site"}, 403, "foreign-origin"),
    ],
)
def test_other_sites_are_refused(
    server: Address, rock: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {name: value.replace("{port}", str(server.port)) for name, value in headers.items()}
    answer = server.ask("POST", "/api/frame", rock, sent)
    assert (answer.status, answer.error) == (status, code)
    # Error responses have the security headers too.
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"},
    ],
)
def test_requests_from_the_servers_own_pages_are_accepted(
    server: Address, rock: bytes, headers: dict[str, str]
) -> None:
    sent = {name: value.replace("{port}", str(server.port)) for name, value in headers.items()}
    assert server.ask("POST", "/api/frame", rock, sent).status == 200


def test_a_link_from_another_site_opens_a_page(server: Address) -> None:
    assert server.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"}).status == 200


def raw(server: Address, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.read()


CLOSE = b"Host: 127.0.0.1\r\nConnection: close\r\n"
HEAD = b"POST /api/frame HTTP/1.1\r\nContent-Type: image/jpeg\r\n" + CLOSE


def chunked(megabytes: int) -> bytes:
    chunks = (b"100000\r\n" + bytes(0x100000) + b"\r\n" for _ in range(megabytes))
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def test_a_body_without_a_content_length_is_limited_too(server: Address) -> None:
    answer = raw(server, chunked(2))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"too-large" in answer
    # The server stops reading a body that is far over the limit.
    with contextlib.suppress(ConnectionError):
        assert raw(server, chunked(40)).startswith(b"HTTP/1.1 413 ")
    assert server.ask("GET", "/api/health").status == 200


def test_a_body_with_a_too_large_content_length_is_refused_before_it_arrives(
    server: Address,
) -> None:
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(server, head).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_arrive_times_out(server: Address) -> None:
    answer = raw(server, HEAD + b"Content-Length: 1000\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"too-slow" in answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0"])
def test_headers_that_do_not_arrive_time_out(server: Address, sent: bytes) -> None:
    assert raw(server, sent) == b""


def test_headers_that_arrive_letter_by_letter_time_out_on_later_requests_too(
    server: Address,
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        # The server's close ends the loop: sending then fails with a reset connection.
        with pytest.raises(OSError):
            while time.monotonic() < began + 30:
                connection.sendall(b"G")
                time.sleep(0.1)
    assert server.ask("GET", "/").status == 200


def test_two_host_headers_are_refused(server: Address) -> None:
    answer = raw(server, b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE + b"\r\n")
    assert answer.split(b" ")[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "request_",
    [b"no request\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", HEAD + b"Content-Length: -\r\n\r\n"],
)
def test_malformed_http_is_one_clear_error(server: Address, request_: bytes) -> None:
    head, _, body = raw(server, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"nosniff" in head
    assert json.loads(body)["error"]["code"] == "bad-request"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_queue_answers_when_to_retry(served: tuple[Address, Service], rock: bytes) -> None:
    server, service = served
    unblock = threading.Event()
    service.worker.run(unblock.wait)
    answers = []
    try:
        threads = [
            threading.Thread(target=lambda: answers.append(server.ask("POST", "/api/frame", rock)))
            for _ in range(LIMITS.picture_requests)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: service.slots.free == 0)
        refused = server.ask("POST", "/api/frame", rock)
        assert (refused.status, refused.error) == (429, "busy")
        assert refused.headers["retry-after"] == "1"
        # The pages are still served.
        assert server.ask("GET", "/").status == 200
    finally:
        unblock.set()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * LIMITS.picture_requests
    assert server.ask("POST", "/api/frame", rock).status == 200


def test_a_client_that_disconnects_frees_its_slot(
    served: tuple[Address, Service], rock: bytes
) -> None:
    server, service = served
    for _ in range(2 * LIMITS.picture_requests):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/api/frame", rock, {"Content-Type": "image/jpeg"})
        connection.close()
    # After the worker has finished the pending requests, all slots are free again.
    service.worker.run(lambda: None).result()
    wait_until(lambda: service.slots.free == LIMITS.picture_requests)


def test_the_machine_chooses_by_the_seed_and_reveals_each_round_once(
    hands_run: Path, tmp_path: Path
) -> None:
    with serving(hands_run, tmp_path) as (server, _):
        rng = random.Random(0)
        for _ in range(5):
            begun = server.ask("POST", "/api/rounds", {"strategy": "fair", "history": []}).value
            sent = {"round": begun["round"], "hand": "rock"}
            revealed = server.ask("POST", "/api/reveal", sent).value
            assert revealed["hand"] == choose("fair", [], rng)
            assert server.ask("POST", "/api/reveal", sent).error == "no-round"


def test_a_photo_is_explained(server: Address, rock: bytes) -> None:
    answer = server.ask("POST", "/api/photo", rock).value
    assert answer["label"] == "rock"
    assert answer["picture"].startswith("data:image/jpeg;base64,")
    assert answer["heat"].startswith("data:image/jpeg;base64,")
    assert answer["heat"] != answer["picture"]


def test_a_perceptron_has_no_heat_map(rock: bytes) -> None:
    program = program_of(recipes.study_mlp, 3)
    weights = program.init(program.seeds(0)[0]).weights
    perceptron = Classifier(recipes.study_mlp, HANDS, program, weights)
    found = explain(perceptron, rock, LIMITS.photo_pixels)
    assert found.heat is None
    assert found.reading.label in HANDS


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server(
    hands_run: Path, tmp_path: Path, rock: bytes, signal_number: signal.Signals
) -> None:
    with start_server(hands_run, "--port", "0", "--seed", "3", cwd=tmp_path) as started:
        assert started.address.ask("POST", "/api/frame", rock).value["label"] == "rock"
        port = str(started.address.port)
        busy = chifoumi("play", hands_run, "--port", port)
        assert busy.returncode == 2
        assert busy.stderr == (
            f"error: port {port} is in use: stop the program that uses it, choose another port "
            "with --port, or any free port with --port 0\n"
        )
        # Left open, as a browser's connection is.
        connection = http.client.HTTPConnection("127.0.0.1", started.address.port)
        connection.request("GET", "/api/health")
        connection.getresponse().read()
        started.process.send_signal(signal_number)
        _, errors = started.process.communicate(timeout=60)
        connection.close()
    assert started.process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("absent",), "absent does not exist"),
        (("absent", "--port", "70000"), "--port must be from 0 to 65535, not 70000"),
        (("absent", "--host", "nowhere.invalid"), "--host nowhere.invalid"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["play", "--port", "0", *arguments])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert sentence in errors
    assert errors.count("\n") == 1


def test_without_the_play_extra_the_error_names_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from chifoumi_jax.cli import main; main(['play', 'absent'])"
    )
    done = run_code(code, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'chifoumi-jax[play]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_concurrent_players_are_all_answered(hands_run: Path) -> None:
    result = measure(hands_run, clients=4, seconds=2)
    assert result.failures == 0
    assert set(result.statuses) == {200}
    assert len(result.latencies) > 4
