"""The explorer's server: what it answers, what it refuses, and that it goes on answering."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from energy_flow import create_config, create_processor
from energy_flow.cli import main
from energy_flow.config import Box
from energy_flow.data import PairData, PairSet, TextBank, make_task
from energy_flow.data.sources import data_settings
from energy_flow.explorer import Model, Subject
from energy_flow.explorer.answers import steps_read
from energy_flow.training.model_folder import save_model

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("httpx2", reason="the extra test is not installed")

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from energy_flow.explorer.app import _answer_errors, create_app
from energy_flow.explorer.guard import DRAINED, HEADERS, LARGEST_BODY, _token_of
from energy_flow.explorer.session import KEPT_RUNS

SMALL = {"carrier_hidden_size": 8, "carrier_num_layers": 1, "neuron_hidden_dim": 8, "neuron_output_dim": 8}
HOME = "http://127.0.0.1:8765"
Clients = Callable[[str], TestClient]


def of_task(preset: str, task: str) -> Subject:
    data = make_task(task, 8, 6)
    config = create_config(preset, **(SMALL | data_settings(data)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        processor = create_processor(config)
        for weight in processor.parameters():  # heads that are zero move nothing
            weight.data += 0.05 * torch.randn_like(weight)
    return Subject([Model("random", processor.eval())], data)


def of_texts() -> Subject:
    config = create_config("tiny", input_embedding_dim=32, output_embedding_dim=32, **SMALL)
    words = [f"word{number}" for number in range(20)]
    bank = TextBank(words, torch.randn(20, 32))
    rows = PairSet(torch.randn(20, 32), bank.embeddings, [f"definition of {word}" for word in words], words)
    data = PairData("toy", rows, rows, rows, bank, ("toy-encoder", "toy-encoder"))
    return Subject([Model("random", create_processor(config).eval())], data)


@pytest.fixture(scope="module")
def clients() -> Clients:
    made = {
        "maze": lambda: of_task("grid", "maze"),
        "delivery": lambda: of_task("pointer", "delivery"),
        "sudoku": lambda: of_task("grid", "sudoku-6"),
        "texts": of_texts,
    }
    kept: dict[str, TestClient] = {}

    def client(name: str) -> TestClient:
        if name not in kept:
            kept[name] = TestClient(create_app(made[name]()), base_url=HOME, raise_server_exceptions=False)
        return kept[name]

    return client


def run(client: TestClient, status: int = 200, **wanted: Any) -> dict[str, Any]:
    reply = client.post("/api/run", json={"input": {"kind": "row", "row": 0}} | wanted)
    assert reply.status_code == status, reply.text
    return reply.json()


def answer_of(found: dict[str, Any]) -> dict[str, Any]:
    return found["scene"]["samples"][0]["answer"]


def test_the_page_comes_with_its_files_and_every_reply_with_the_headers(clients: Clients) -> None:
    client = clients("maze")
    for path, kind in (
        ("/", "text/html"),
        ("/static/viewer.js", "text/javascript"),
        ("/static/viewer.css", "text/css"),
    ):
        reply = client.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith(kind)
        assert {name: reply.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    for path in ("/docs", "/redoc", "/openapi.json", "/static/..%2fpage.py", "/static/scene.py", "/nothing"):
        reply = client.get(path)
        assert reply.status_code == 404
        assert set(reply.json()) == {"error"}
        assert {name: reply.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "192.168.1.7", "[::2]:8765"])
def test_another_name_of_the_host_is_refused(clients: Clients, host: str) -> None:
    assert clients("maze").get("/api/subject", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_the_loopback_has_several_names(clients: Clients, host: str) -> None:
    assert clients("maze").get("/api/subject", headers={"Host": host}).status_code == 200


def test_a_request_from_another_site_is_refused(clients: Clients) -> None:
    client = clients("maze")
    assert client.get("/api/subject", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/subject", headers={"Origin": HOME}).status_code == 200


def test_with_a_token_every_request_must_carry_it() -> None:
    client = TestClient(create_app(of_texts(), token="secret"), base_url="http://10.0.0.7:8765")
    for path in ("/", "/?token=guess", "/static/viewer.js", "/api/subject?token=secret", "/api/rows"):
        assert client.get(path).status_code == 401, path
    assert client.get("/api/subject", headers={"Authorization": "Bearer secret"}).status_code == 200
    first = client.get("/?token=secret")  # sets the cookie and leads to the page without the token
    assert (first.status_code, str(first.url)) == (200, "http://10.0.0.7:8765/")
    assert client.get("/api/subject").status_code == 200
    assert "HttpOnly" in first.history[0].headers["set-cookie"]


def test_too_large_a_body_is_refused_whether_it_says_so_or_not(clients: Clients) -> None:
    client = clients("texts")
    megabyte = b'{"input": {"kind": "text", "text": "' + b"a" * LARGEST_BODY + b'"}}'
    for body in (megabyte, iter([megabyte[:500_000], megabyte[500_000:]]), b"a" * (DRAINED + 1)):
        reply = client.post("/api/run", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 413
        assert reply.json() == {"error": "the body is larger than 1,000,000 bytes"}
    assert client.get("/api/subject").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"input": {"kind": "row", "row": 6000}}, "row = 6000; maze has"),
        ({"input": {"kind": "row", "row": -1}}, "greater than or equal to 0"),
        ({"input": {"kind": "poem"}}, "does not match any of the expected tags"),
        ({"input": {"kind": "numbers", "numbers": [1.0]}}, "numbers: 1 of them, the model takes 150"),
        ({"input": {"kind": "numbers", "numbers": [0.5] * 150}}, "those of a maze are 0 or 1"),
        ({"input": {"kind": "numbers", "numbers": [0] * 150}}, "start: 0 of them; a maze has one"),
        ({"input": {"kind": "numbers", "numbers": [1, *[0] * 149]}}, "start: 0 of them"),
        ({"input": {"kind": "text", "text": "a" * 6000}}, "at most 5000 characters"),
        ({"input": {"kind": "text", "text": "a"}}, "maze has no texts; pick a row"),
        ({"model": 3}, "model = 3; there are 1"),
        ({"box": [5, 5, 20_000]}, "19,999 steps, a page plays at most 2,000"),
        ({"box": [7, 7, 25]}, "takes 294 numbers, the input has 150"),
        ({"hands": [{"kind": "block", "cells": [[5, 0, 1]]}]}, "cells: (5, 0, 1) lies beyond the box of 5x5x25"),
        ({"hands": [{"kind": "replay", "run": "gone"}]}, "its routes are not kept any more"),
        ({"hands": [{"kind": "cut"}] * 21}, "at most 20 items"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(clients: Clients, wanted: dict, message: str) -> None:
    error = run(clients("maze"), 422, **wanted)["error"]
    assert message in error
    assert len(error) <= 500


@pytest.mark.parametrize(
    ("number", "message"), [("NaN", "finite number"), ("1e39", "beyond what float32 holds"), ("3e38", "is not finite")]
)
def test_numbers_that_are_not_finite_are_refused(clients: Clients, number: str, message: str) -> None:
    body = '{"input": {"kind": "numbers", "numbers": [' + ",".join([number] * 64) + "]}}"
    reply = clients("delivery").post("/api/run", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 422
    assert message in reply.json()["error"]


def test_a_box_with_too_many_records_is_refused(clients: Clients) -> None:
    wanted = {"kind": "numbers", "numbers": maze_numbers((20, 20), [(0, 1)], 0, 1), "face": [20, 20]}
    error = run(clients("maze"), 422, input=wanted, box=[20, 20, 1500])["error"]
    assert "about 600,000 records, a page shows 400,000" in error


def test_a_long_run_is_read_at_equal_distances_and_in_the_end(clients: Clients) -> None:
    steps = answer_of(run(clients("maze"), box=[5, 5, 601]))["steps"]
    assert len(steps) <= 250
    assert steps[-1] == 600
    assert set(np.diff(steps)) == {3}


def maze_numbers(face: tuple[int, int], open_walls: list[tuple[int, int]], start: int, goal: int) -> list[int]:
    """A maze whose walls between the pairs of cells are open."""
    cells = [[0] * 6 for _ in range(face[0] * face[1])]
    for one, other in open_walls:
        way = 0 if other == one + 1 else 1
        cells[one][way] = cells[other][way + 2] = 1
    cells[start][4] = cells[goal][5] = 1
    return [number for cell in cells for number in cell]


def test_a_written_maze_of_another_size_runs_in_its_own_box_and_knows_its_way(clients: Clients) -> None:
    numbers = maze_numbers((3, 2), [(0, 1), (1, 2), (0, 3), (4, 5), (2, 5)], start=3, goal=4)
    found = run(clients("maze"), input={"kind": "numbers", "numbers": numbers, "face": [3, 2]})
    assert found["scene"]["sites"] == [3, 2]
    answer = answer_of(found)
    assert (answer["kind"], answer["drawing"], answer["face"]) == ("cells", "maze", [3, 2])
    assert answer["target"] == [1, 1, 1, 1, 1, 1]
    assert [len(read) for read in answer["reads"]] == [6] * len(answer["steps"])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([*maze_numbers((2, 2), [(0, 1)], 0, 1)[:-1], 1], "goal: 2 of them"),
        ([1, 0, 0, 0, 1, 0, *[0] * 6, *[0] * 5, 1, *[0] * 6], "a wall is open on one side alone"),
        ([0, 0, 0, 1, 1, 0, *[0] * 6, *[0] * 5, 1, *[0] * 6], "one leads beyond the edge"),
    ],
)
def test_a_maze_that_is_none_is_refused(clients: Clients, numbers: list[int], message: str) -> None:
    wanted = {"kind": "numbers", "numbers": numbers, "face": [2, 2]}
    assert message in run(clients("maze"), 422, input=wanted)["error"]


def test_a_maze_without_a_way_or_with_two_has_no_target(clients: Clients) -> None:
    apart = maze_numbers((2, 2), [(0, 1)], 0, 3)
    both = maze_numbers((2, 2), [(0, 1), (1, 3), (0, 2), (2, 3)], 0, 3)
    for numbers in (apart, both):
        assert (
            answer_of(run(clients("maze"), input={"kind": "numbers", "numbers": numbers, "face": [2, 2]}))["target"]
            is None
        )


def test_a_sudoku_is_written_by_its_digits(clients: Clients) -> None:
    client = clients("sudoku")
    digits = [0] * 36
    digits[7] = 6
    answer = answer_of(run(client, input={"kind": "sudoku", "digits": digits}))
    assert (answer["drawing"], answer["block"], answer["given"]) == ("sudoku", [3, 2], digits)
    assert "give 36 of them, 0 to 6" in run(client, 422, input={"kind": "sudoku", "digits": [7, *[0] * 35]})["error"]


def test_texts_are_read_at_every_step_and_the_last_reading_is_the_output(clients: Clients) -> None:
    client = clients("texts")
    found = run(client, input={"kind": "row", "row": 3})
    answer = answer_of(found)
    assert (answer["kind"], answer["target"]) == ("texts", "word3")
    assert answer["steps"][-1] == max(answer["steps"])
    assert len(answer["reads"][-1]) == 6
    assert client.get("/api/rows", params={"search": "WORD1"}).json()[0] == {"row": 1, "name": "definition of word1"}
    assert len(client.get("/api/rows", params={"start": 15}).json()) == 5


def test_a_text_without_the_encoder_says_what_to_install(clients: Clients, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = run(clients("texts"), 501, input={"kind": "text", "text": "anything"})
    assert "pip install 'energy-flow[text]'" in found["error"]


def test_an_outputs_error_goes_over_the_steps_of_a_regression(clients: Clients) -> None:
    answer = answer_of(run(clients("delivery")))
    assert answer["kind"] == "numbers"
    assert answer["curve_name"] == "RMS error to the target"
    assert len(answer["curve"]) == len(answer["steps"]) == len(answer["reads"])


@pytest.mark.parametrize(
    ("reads", "steps", "found"), [(4, 4, [1, 2, 3, 4]), (4, 6, [1, 2, 3, 6]), (4, 2, [1, 2]), (1, 5, [5]), (4, 1, [1])]
)
def test_the_steps_at_which_was_read(reads: int, steps: int, found: list[int]) -> None:
    assert steps_read(reads, steps) == found


def test_every_hand_changes_the_answer_and_says_by_how_much(clients: Clients) -> None:
    client = clients("delivery")
    before = run(client)
    other = run(client, input={"kind": "row", "row": 1})
    plane = [[x, y, 1] for x in range(2) for y in range(4)]
    hands = [
        {"kind": "block", "cells": plane},
        {"kind": "cut", "flows": [3], "steps": [1]},
        {"kind": "freeze"},
        {"kind": "replay", "run": other["run"]},
        {"kind": "noise", "std": 0.5},
    ]
    for hand in hands:
        difference = run(client, hands=[hand], against=before["run"])["difference"]
        assert difference["rms"] > 1e-3, hand
        assert difference["before"][1] == pytest.approx(answer_of(before)["curve"][-1])
    same = run(client, against=before["run"])["difference"]
    assert (same["rms"], same["cosine"]) == (0, pytest.approx(1))


def test_a_lesion_fades_whoever_would_enter_it(clients: Clients) -> None:
    client = clients("maze")
    found = run(client, hands=[{"kind": "block", "cells": [[2, 3, 10]]}], against=run(client)["run"])
    assert found["difference"]["cells"] is not None
    records = answer_of(found)
    assert records["steps"][-1] == 24
    cut = run(client, hands=[{"kind": "block", "cells": [[x, y, 10] for x in range(5) for y in range(5)]}])
    assert answer_of(cut)["steps"][-1] == 10  # nobody passes the plane, so the run ends there


def test_the_oldest_runs_are_forgotten_but_not_those_in_use(clients: Clients) -> None:
    client = clients("delivery")
    used, unused = run(client)["run"], run(client)["run"]
    for _ in range(KEPT_RUNS):
        run(client, against=used)
    assert run(client, against=used)["difference"] is not None
    assert run(client, against=unused)["difference"] is None


@pytest.mark.slow
def test_a_hundred_requests_at_once_are_answered(clients: Clients) -> None:
    client = clients("texts")
    with ThreadPoolExecutor(50) as threads:
        rows = list(threads.map(lambda number: run(client, input={"kind": "row", "row": number % 20}), range(100)))
    alone = run(client, input={"kind": "row", "row": 7})
    assert answer_of(rows[7]) == answer_of(alone)
    assert len({one["run"] for one in rows}) == 100


def test_a_fault_of_the_server_is_a_short_answer_and_not_its_end(clients: Clients, monkeypatch, caplog) -> None:
    client = clients("texts")
    with monkeypatch.context() as patch:
        patch.setattr("energy_flow.explorer.session.answer_of", lambda *_: 1 / 0)
        assert run(client, 500)["error"] == "the server failed; its terminal says why"
    assert "ZeroDivisionError" in caplog.text
    run(client)


def test_a_model_that_does_not_fit_the_data_is_refused() -> None:
    subject = of_texts()
    with pytest.raises(ValueError, match=r"random maps 32 numbers to 32, and the rows of maze have .*; give --data"):
        Subject(subject.models, make_task("maze", 8, 6))
    with pytest.raises(ValueError, match="give each folder once"):
        Subject(subject.models * 2, subject.data)


def test_two_models_answer_the_same_input() -> None:
    subject = of_texts()
    other = create_processor(subject.config.replace(seed=1)).eval()
    for weight in other.parameters():
        weight.data += 0.1
    client = TestClient(create_app(Subject([*subject.models, Model("other", other)], subject.data)), base_url=HOME)
    assert [model["name"] for model in client.get("/api/subject").json()["models"]] == ["random", "other"]
    first = run(client)
    assert run(client, model=1, against=first["run"])["difference"]["rms"] > 1e-3


def test_another_box_is_another_run(clients: Clients) -> None:
    client = clients("maze")
    assert run(client, box=[5, 5, 40])["scene"]["box"] == [5, 5, 40]
    assert run(client)["scene"]["box"] == list(Box(5, 5, 25))


def test_the_command_says_what_is_missing_or_wrong(tmp_path, capsys, monkeypatch) -> None:
    save_model(of_task("grid", "maze").models[0].processor, tmp_path / "run" / "best")
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(tmp_path / "run"), "--data", "maze", "--device", "cpu", "--port", "70000"])
    assert stop.value.code == 2
    assert "--port 70000; give 0 to 65535" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(tmp_path / "run"), "--data", "maze", "--device", "cpu"])
    assert stop.value.code == 2
    assert "pip install 'energy-flow[serve]'" in capsys.readouterr().err


def test_another_host_than_the_loopback_gets_a_token_in_its_address(monkeypatch) -> None:
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from energy_flow.explorer.serving import open_socket, serve

    served = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: served.append(self.config.app))
    said: list[str] = []
    for host in ("127.0.0.1", "0.0.0.0"):
        serve(of_texts(), host, 0, say=said.append)
    assert "token" not in said[0]
    token = said[1].split("?token=")[1].split()[0]
    assert len(token) >= 32
    app = TestClient(served[1], base_url="http://10.0.0.7")
    assert app.get("/api/subject").status_code == 401
    assert app.get("/api/subject", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--host 127.0.0.1 --port {port}: .*; give another, or --port 0"):
            open_socket("127.0.0.1", port)


def test_a_number_that_leads_nowhere_is_the_askers_fault() -> None:
    app = FastAPI()
    _answer_errors(app)

    @app.get("/")
    def run() -> None:
        raise FloatingPointError("flows are still inside")

    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert answer.status_code == 422
    assert answer.json() == {"error": "flows are still inside; give smaller numbers"}


@pytest.mark.parametrize(
    ("name", "value", "token"),
    [
        ("cookie", "user@x=1; energy_flow_token=secret", "secret"),
        ("cookie", 'prefs={"a": 1}; flag; energy_flow_token=secret', "secret"),
        ("cookie", "note=hello world", ""),
        ("authorization", "bearer secret", "secret"),
    ],
)
def test_the_token_is_found_among_what_others_have_set(name: str, value: str, token: str) -> None:
    assert _token_of(Headers({name: value})) == token
