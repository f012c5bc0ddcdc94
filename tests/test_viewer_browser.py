"""The pages in a real browser: what is drawn, what changes, that nothing is asked of the network, nothing complains.

pytest -m slow tests/test_viewer_browser.py --screenshots FOLDER      (keeps pictures: light, dark and narrow)
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

from energy_flow import create_config, create_processor
from energy_flow.core.flows import ARRIVED, LAUNCHED, MOVING
from energy_flow.data import load_data, make_task
from energy_flow.data.sources import data_settings
from energy_flow.explorer import Model, Subject
from energy_flow.viz import Scene, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from torch import Tensor

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
READY = "html[data-ready]"
WIDE, NARROW = {"width": 1360, "height": 800}, {"width": 390, "height": 844}
PIXELS = """() => {
    const canvas = document.querySelector('canvas.stage');
    energyFlow.view.stage.drawNow();
    const small = document.createElement('canvas');
    [small.width, small.height] = [160, 100];
    const pen = small.getContext('2d');
    pen.drawImage(canvas, 0, 0, 160, 100);
    return Array.from(pen.getImageData(0, 0, 160, 100).data);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra test is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium; install it, such as with apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def pictures(request, tmp_path_factory) -> Path:
    wanted = request.config.getoption("--screenshots")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Opened(NamedTuple):
    """A page, what it complained of, and what it asked for."""

    page: Page
    complaints: list[str]
    asked: list[str]

    def check(self, host: str) -> None:
        assert self.complaints == []
        assert [url for url in self.asked if not url.startswith((host, "data:", "blob:"))] == []


@contextmanager
def opened(browser: Browser, url: str, size: dict[str, int] = WIDE, **options: Any) -> Iterator[Opened]:
    context = browser.new_context(viewport=size, **({"color_scheme": "dark"} | options))  # type: ignore[arg-type]
    page, complaints, asked = context.new_page(), [], []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector(READY, state="attached")
    yield Opened(page, complaints, asked)
    context.close()


def pixels(page: Page) -> Tensor:
    """(100, 160, 3) of the canvas, made small."""
    return torch.tensor(page.evaluate(PIXELS)).view(100, 160, 4)[:, :, :3].float()


def go(page: Page, step: float) -> None:
    page.evaluate("step => { energyFlow.board.player.pause(); energyFlow.board.player.go(step) }", step)


class Wandering(NamedTuple):
    """Flows that wander through a box, as a trace: `flows` of them for `steps` steps."""

    box: tuple[int, int, int]
    sites: tuple[int, int]
    step: Tensor
    sample: Tensor
    flow_id: Tensor
    parent_id: Tensor
    position: Tensor
    level: Tensor
    mass: Tensor
    event: Tensor

    @classmethod
    def of(cls, flows: int, steps: int, side: int) -> Wandering:
        random = torch.Generator().manual_seed(0)
        walk = torch.randn(steps + 1, flows, 2, generator=random).cumsum(0)
        flow = torch.arange(flows)
        begin = torch.stack((flow % side, flow // side % side), dim=1)
        across = (begin + walk - walk[:1]).clamp(0, side - 1).round()
        along = torch.arange(steps + 1.0).view(-1, 1, 1).expand(-1, flows, 1) * 4
        event = torch.full((steps + 1, flows), MOVING)
        event[0], event[-1] = LAUNCHED, ARRIVED
        records = (steps + 1) * flows
        level = 0.2 + torch.rand(records, generator=random)
        return cls(
            (side, side, 4 * steps + 1),
            (side, side),
            torch.arange(steps + 1).repeat_interleave(flows),
            torch.zeros(records, dtype=torch.int64),
            flow.repeat(steps + 1),
            torch.full((records,), -1),
            torch.cat((across, along), dim=2).flatten(0, 1),
            level,
            torch.ones(records),
            event.flatten(),
        )


def test_a_page_from_a_file_is_drawn_and_asks_for_nothing(browser: Browser, tmp_path, pictures: Path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(36, 12, 6), title="36 flows"))
    with opened(browser, path.as_uri()) as found:
        go(found.page, 12)
        drawn = pixels(found.page)
        assert (drawn - drawn[0, 0]).abs().amax(2).gt(40).float().mean() > 0.02  # of the canvas, besides its ground
        found.page.screenshot(path=pictures / "page_dark.png")
        found.check(path.as_uri())
    for name, size, scheme in (("light", WIDE, "light"), ("narrow", NARROW, "dark")):
        with opened(browser, path.as_uri() + "#t=9", size, color_scheme=scheme) as found:
            found.page.wait_for_timeout(300)
            found.page.screenshot(path=pictures / f"page_{name}.png")
            wide = found.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name}: the page is {wide} pixels too wide"
            found.check(path.as_uri())


def test_slider_and_keys_change_what_is_drawn_and_what_is_said(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(36, 12, 6)))
    with opened(browser, path.as_uri() + "#t=1") as found:
        page = found.page
        before = pixels(page)
        page.locator(".scrub").fill("9")
        assert (pixels(page) - before).abs().amax() > 40
        page.wait_for_selector("text=Step 9 of 12: 36 flows live", state="attached")
        page.locator(".scrub").press("ArrowRight")
        page.wait_for_selector("text=Step 10 of 12", state="attached")
        look = page.evaluate("energyFlow.view.stage.view")
        page.keyboard.press("d")
        assert page.evaluate("energyFlow.view.stage.view") != look
        for key in ("c", "v", "t"):
            before = pixels(page)
            page.keyboard.press(key)
            assert (pixels(page) - before).abs().amax() > 20, key
        found.check(path.as_uri())


def test_a_link_restores_the_view(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(16, 8, 4)))
    with opened(browser, path.as_uri()) as found:
        go(found.page, 5)
        for key in ("d", "d", "w", "+", "c"):
            found.page.keyboard.press(key)
        found.page.wait_for_timeout(500)
        link, before = found.page.url, pixels(found.page)
    with opened(browser, link) as found:
        found.page.wait_for_timeout(300)
        assert (pixels(found.page) - before).abs().mean() < 1
        assert found.page.evaluate("energyFlow.board.player.time") == 5


def test_a_flow_is_found_and_followed_and_its_story_told(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(4, 6, 2)))
    with opened(browser, path.as_uri() + "#t=6") as found:
        page = found.page
        place = page.evaluate(
            """() => {
                const { stage, paths } = energyFlow.view;
                const box = stage.canvas.getBoundingClientRect();
                for (let y = 0; y < box.height; y += 4)
                    for (let x = 0; x < box.width; x += 4)
                        if ([-3, 0, 3].every((by) => stage.find(x, y + by) === 2)) return [box.left + x, box.top + y];
            }"""
        )
        page.mouse.move(*place)
        page.wait_for_selector(".tip:not([hidden])")
        before = pixels(page)
        page.mouse.click(*place)
        told = page.locator(".story").inner_text()
        assert "launched" in told
        assert "arrived in step 6" in told
        assert (pixels(page) - before).abs().amax() > 20  # the others have gone dim
        page.keyboard.press("Escape")
        assert not page.locator(".story").is_visible()
        page.locator("summary").click()
        assert page.locator("tbody tr").count() == 4


def test_who_wants_calm_gets_no_motion(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(16, 8, 4)))
    with opened(browser, path.as_uri(), reduced_motion="reduce") as found:
        assert found.page.evaluate("[energyFlow.board.player.playing, energyFlow.board.player.time]") == [False, 8]
    with opened(browser, path.as_uri()) as found:
        assert found.page.evaluate("energyFlow.board.player.playing")


def test_fifty_thousand_records_are_drawn_in_two_seconds_and_scrubbed_at_thirty_frames(
    browser: Browser, tmp_path, pictures: Path
) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(1000, 50, 32)))
    scrub = """() => {
        const { view, board } = energyFlow;
        const pen = view.stage.renderer.getContext(), pixel = new Uint8Array(4), times = [];
        for (let frame = 0; frame < 60; frame++) {
            const begin = performance.now();
            board.player.go((50 * frame) / 59);
            view.stage.drawNow(!view.stage.slow);
            pen.readPixels(0, 0, 1, 1, pen.RGBA, pen.UNSIGNED_BYTE, pixel);  // waits for the picture
            times.push(performance.now() - begin);
        }
        return times.sort((one, other) => one - other)[20];  // others may be busy on the machine
    }"""
    with opened(browser, path.as_uri() + "#t=0") as found:
        drawn, frame = found.page.evaluate("energyFlow.drawnAfter"), found.page.evaluate(scrub)
        print(f"drawn after {drawn:.0f} ms, a frame in {frame:.1f} ms")
        go(found.page, 33)
        found.page.wait_for_timeout(200)
        found.page.screenshot(path=pictures / "many.png")
        assert drawn < 2000
        assert frame < 1000 / 30
        found.check(path.as_uri())


def test_a_browser_without_webgl_gets_the_flows_in_words(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(16, 8, 4)))
    context = browser.new_context()
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("text=This browser cannot draw with WebGL 2")
    assert page.locator("tbody tr").count() == 16
    context.close()


def test_two_hundred_thousand_records_are_usable(browser: Browser, tmp_path) -> None:
    path = write_page(tmp_path / "page.html", Scene.of(Wandering.of(4000, 50, 64)))
    with opened(browser, path.as_uri() + "#t=25") as found:
        before = pixels(found.page)
        go(found.page, 50)
        assert (pixels(found.page) - before).abs().amax() > 40
        found.check(path.as_uri())


@contextmanager
def served(subject: Subject) -> Iterator[str]:
    """The explorer of a subject at an address of its own."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from energy_flow.explorer.app import create_app
    from energy_flow.explorer.serving import open_socket

    listening: socket.socket = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(subject), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)
    listening.close()


def tiny() -> Subject:
    data = load_data("shipped")
    config = create_config("tiny", carrier_hidden_size=16, carrier_num_layers=1)
    return Subject([Model("tiny", _stirred(create_processor(config)))], data)


def carriers() -> Subject:
    data = make_task("delivery", 64, 8)
    config = create_config("pointer", **data_settings(data))
    return Subject([Model("pointer", _stirred(create_processor(config)))], data)


def mazes() -> Subject:
    data = make_task("maze", 64, 8)
    config = create_config("grid", **data_settings(data))
    return Subject([Model("grid", _stirred(create_processor(config)))], data)


def _stirred(processor: Any) -> Any:
    """Heads are zero before training and would move nothing."""
    for weight in processor.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    return processor.eval()


@pytest.mark.parametrize("make", [tiny, carriers, mazes])
def test_the_explorer_draws_runs_and_a_lesion_changes_the_answer(
    browser: Browser, make: Callable[[], Subject], pictures: Path
) -> None:
    with served(make()) as address, opened(browser, address + "#t=99") as found:
        page, name = found.page, make.__name__
        drawn = pixels(page)
        assert (drawn - drawn[0, 0]).abs().amax(2).gt(40).float().mean() > 0.02
        answer = page.locator(".answer:visible").first
        before = page.evaluate("energyFlow.slots[0].base.scene.samples[0].answer.reads.at(-1)")
        assert answer.is_visible()
        lesion = page.locator(".lesion:visible")
        lesion.scroll_into_view_if_needed()
        box = lesion.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.12 * box["height"])
        page.mouse.down()
        for share in range(1, 9):
            page.mouse.move(box["x"] + 0.1 * (share + 1) * box["width"], box["y"] + 0.12 * box["height"], steps=3)
        page.mouse.up()
        page.wait_for_selector(".difference >> visible=true")
        after = page.evaluate("energyFlow.slots[0].after.scene.samples[0].answer.reads.at(-1)")
        assert after != before
        assert (pixels(page) - drawn).abs().amax() > 20
        page.screenshot(path=pictures / f"explorer_{name}_dark.png")
        page.get_by_role("button", name="Compare two inputs").click()
        page.wait_for_selector("text=B: ")
        page.wait_for_timeout(600)
        assert page.locator("canvas.stage:visible").count() == 2
        page.screenshot(path=pictures / f"explorer_{name}_compared.png")
        found.check(address)


def test_the_explorer_is_fit_for_light_and_for_narrow_screens(browser: Browser, pictures: Path) -> None:
    with served(mazes()) as address:
        for name, size, scheme in (("light", WIDE, "light"), ("narrow", NARROW, "dark")):
            with opened(browser, address + "#t=99", size, color_scheme=scheme) as found:
                found.page.wait_for_timeout(400)
                found.page.screenshot(path=pictures / f"explorer_{name}.png", full_page=name == "narrow")
                assert found.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
                found.check(address)


def test_a_flow_is_cut_a_maze_edited_and_routes_replayed(browser: Browser) -> None:
    with served(mazes()) as address, opened(browser, address + "#t=4") as found:
        page = found.page
        page.evaluate("energyFlow.view.follow(7)")
        page.get_by_role("button", name="The flow fades in this step").click()
        page.wait_for_selector("text=flow 7 cut in step 5")
        page.wait_for_selector(".difference >> visible=true")
        assert page.evaluate("energyFlow.view.paths.story(7).length") == 6
        page.get_by_role("button", name="Take back").click()
        page.wait_for_selector(".difference", state="hidden")
        before = page.evaluate("energyFlow.slots[0].base.run")
        page.locator(".editor .cells:visible").first.focus()
        page.keyboard.press("Shift+ArrowRight")  # opens or closes a wall
        deadline = time.monotonic() + 10
        while page.evaluate("energyFlow.slots[0].base.run") == before and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert page.evaluate("energyFlow.slots[0].input.kind") == "numbers"
        page.get_by_role("button", name="Let the flows take the routes of this row").click()
        page.wait_for_selector("text=routes of row 1")
        found.check(address)


def test_no_text_of_the_data_becomes_markup_in_the_explorer(browser: Browser) -> None:
    subject = tiny()
    evil = "<img src=x onerror=document.title='owned'>"
    texts = [evil, *subject.data.test.input_texts[1:]]  # type: ignore[union-attr]
    object.__setattr__(subject.data.test, "input_texts", texts)
    with served(subject) as address, opened(browser, address + "#t=1") as found:
        found.page.wait_for_selector("option >> text=<img src=x", state="attached")
        assert found.page.locator("img").count() == 0
        assert found.page.title() != "owned"
        found.check(address)


def test_a_new_input_of_tiny_is_answered_in_three_tenths_of_a_second() -> None:
    data = load_data("shipped")
    subject = Subject([Model("tiny", _stirred(create_processor(create_config("tiny"))))], data)
    taken = []
    with served(subject) as address:
        for row in range(12):
            body = json.dumps({"input": {"kind": "row", "row": row}}).encode()
            request = urllib.request.Request(f"{address}api/run", body, {"Content-Type": "application/json"})
            begin = time.perf_counter()
            with urllib.request.urlopen(request) as reply:
                assert reply.status == 200
            taken.append(time.perf_counter() - begin)
    print(f"{1000 * sorted(taken)[3]:.0f} ms")
    assert sorted(taken)[3] < 0.3  # others may be busy on the machine


def test_a_hundred_requests_and_a_megabyte_leave_the_server_answering() -> None:
    with served(tiny()) as address:

        def ask(text: str) -> int:
            body = json.dumps({"input": {"kind": "row", "row": 1}} if not text else {"text": text}).encode()
            request = urllib.request.Request(f"{address}api/run", body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=60) as reply:
                    return reply.status
            except urllib.error.HTTPError as error:
                return error.code

        with ThreadPoolExecutor(100) as threads:
            assert set(threads.map(ask, [""] * 100)) == {200}
        assert ask("a" * 2_000_000) == 413
        assert ask("") == 200
