"""The viewer's page in a real browser: Chromium, which Playwright drives."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from functools import partial
from urllib.error import HTTPError

import numpy as np
import pytest
import toy

pytestmark = pytest.mark.system
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
SIZE = {"width": 1200, "height": 800}
# Whether a WebSocket is let in.
KNOCK = """address => new Promise(done => {
  const socket = new WebSocket(address);
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})"""
ENDS = (530, 480), (530, 318)  # pixels, found by looking, of the two ends of the U-maze's corridor


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Served:
    """`goalward view` as its own process."""

    def __init__(self, *words):
        line = [sys.executable, "-m", "goalward", "view", *map(str, words), "--no-browser"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        while "token=" not in said:
            line = self.process.stdout.readline()
            assert line, said
            said += line
        self.address = re.search(r"open (\S+)", said)[1]
        self.origin = self.address.split("/?")[0]

    def stop(self):
        """End it as Ctrl-C does; what it said."""
        self.process.send_signal(2)
        said = self.process.communicate(timeout=60)[0]
        assert self.process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def maze():
    served = Served("point_u_maze")
    yield served
    assert "Traceback" not in served.stop()


@pytest.fixture
def serve():
    """`Served`, which ends with the test whatever happens."""
    begun = []

    def served(*words):
        begun.append(Served(*words))
        return begun[-1]

    yield served
    for one in begun:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(scope="module")
def seen():
    """Whatever pages asked for, and complained of."""
    return {"requests": [], "errors": []}


@pytest.fixture
def open_page(chromium, seen):
    contexts = []

    def opened(served):
        context = chromium.new_context(viewport=SIZE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: seen["requests"].append(request.url))
        page.on("pageerror", lambda error: seen["errors"].append(str(error)))
        page.on("console", lambda said: seen["errors"].append(said.text) if said.type == "error" else None)
        page.goto(served.address)
        page.get_by_text("Tour", exact=True).wait_for(timeout=60_000)
        page.locator("canvas").first.wait_for()
        time.sleep(2)  # of drawing
        return page

    yield opened
    for context in contexts:
        context.close()


def words(page):
    """What the panel says."""
    return page.locator("p", has_text="at the goal").inner_text()


def distance(page):
    return float(re.search(r"distance ([\d.e-]+)", words(page))[1])


def tick(page, label):
    """Click on the box beside a label."""
    page.get_by_role("checkbox", name=label).click() if page.get_by_role("checkbox", name=label).count() else (
        page.get_by_text(label, exact=True).locator("xpath=following::input[1]").click()
    )


def until(page, what, seconds=40):
    end = time.monotonic() + seconds
    while not what(page):
        assert time.monotonic() < end, words(page)
        time.sleep(0.2)


def red(page):
    """The middle of the goal's sphere on the picture, in pixels."""
    from io import BytesIO

    from PIL import Image

    picture = np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB")).astype(int)[:, :850]
    r, g, b = picture[..., 0], picture[..., 1], picture[..., 2]
    places = np.argwhere((r > 200) & (g < 180) & (b < 190) & (r - g > 70) & (abs(g - b) < 40))
    assert len(places) > 50
    return places.mean(axis=0)[::-1]


def test_a_click_moves_the_goal_and_the_agent_arrives(open_page, maze, seen):
    page = open_page(maze)
    page.get_by_text("New episode").click()
    for target in ENDS:
        page.mouse.click(*target)
        until(page, lambda page, target=target: np.linalg.norm(red(page) - target) < 40)
        until(page, lambda page: words(page).startswith("at the goal") and distance(page) < 0.5)
    assert not seen["errors"]
    assert {url.split("?")[0] for url in seen["requests"] if not url.startswith(("data:", "blob:"))} == {
        f"{maze.origin}/"
    }


def test_the_world_can_be_stopped_and_its_goals_drawn(open_page, maze):
    page = open_page(maze)
    page.get_by_text("Play or pause").click()
    time.sleep(1)
    standing = words(page), page.locator("p", has_text=re.compile(r"^\d+\.\d s$")).inner_text()
    time.sleep(1)
    assert (words(page), page.locator("p", has_text=re.compile(r"^\d+\.\d s$")).inner_text()) == standing
    page.get_by_text("Play or pause").click()
    until(page, lambda page: page.locator("p", has_text=re.compile(r"^\d+\.\d s$")).inner_text() != standing[1])


def test_two_viewers_see_the_same_and_a_closed_one_harms_nothing(open_page, maze):
    one, other = open_page(maze), open_page(maze)
    at = ENDS[0] if np.linalg.norm(red(one) - ENDS[1]) < 60 else ENDS[1]
    one.mouse.click(*at)
    for page in (one, other):
        until(page, lambda page: np.linalg.norm(red(page) - at) < 40)
    assert np.linalg.norm(red(one) - red(other)) < 40  # as far as arrows hide it
    one.context.set_offline(True)  # its connection is lost
    time.sleep(1)
    one.close()
    other.mouse.click(*ENDS[0])
    until(other, lambda page: words(page).startswith("at the goal"))
    page = open_page(maze)
    assert words(page)


def test_nobody_else_is_answered(chromium, maze):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(maze.address)
    [cookie] = context.cookies()
    context.close()
    name, right = cookie["name"], f"{cookie['name']}={cookie['value']}"
    asked = urllib.request.Request(maze.origin, headers={"Cookie": right})
    assert urllib.request.urlopen(asked).status == 200
    for headers in (
        {}, {"Cookie": f"{name}=guess"}, {"Cookie": right, "Host": "evil.example"},
        {"Cookie": right, "Origin": "http://localhost:1"},
    ):  # fmt: skip
        for path in ("/", "/index.html", "/?token=guess"):
            with pytest.raises(HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(maze.origin + path, headers=headers))
            assert caught.value.code == 403
            assert "token" in caught.value.read().decode()
    context = chromium.new_context()
    page = context.new_page()
    page.goto("about:blank")
    told = page.evaluate(KNOCK, maze.origin.replace("http", "ws"))
    assert told == "refused"
    context.close()


def test_another_page_cannot_drive_it_even_in_the_browser_of_who_has_the_token(open_page, maze, tmp_path):
    page = open_page(maze)
    [cookie] = page.context.cookies()
    assert cookie["name"].startswith("goalward-")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert "token" not in page.url
    (tmp_path / "index.html").write_text("<title>another program of this machine</title>")
    serve = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = page.context.new_page()
        other.goto(f"http://127.0.0.1:{server.server_port}/")  # which is sent the cookie too
        assert other.evaluate(KNOCK, maze.origin.replace("http", "ws")) == "refused"
        server.shutdown()
    assert page.evaluate(KNOCK, maze.origin.replace("http", "ws")) == "open"


def test_sliders_choose_the_agent_and_its_checkpoint(open_page, serve, tmp_path):
    trained = tmp_path / "trained"
    toy.run(trained, toy.epochs(3, keep_last=9))
    served = serve(trained, "point_u_maze")
    page = open_page(served)
    assert page.get_by_text(re.compile(r"after [\d,]+ environment steps")).count() == 1
    slider = page.get_by_role("slider")
    before = page.get_by_text(re.compile(r"after [\d,]+ environment steps")).inner_text()
    slider.nth(2).focus()
    page.keyboard.press("Home")
    until(
        page,
        lambda page: page.get_by_text(re.compile(r"after [\d,]+ environment steps")).inner_text() != before,
    )
    slider.nth(1).focus()  # the agent's is before the checkpoint's
    page.keyboard.press("End")
    until(page, lambda page: page.get_by_text("point_u_maze", exact=True).count() >= 1)
    page.mouse.click(*ENDS[0])
    until(page, lambda page: words(page).startswith("at the goal"))  # which the toy does not know
    assert json.dumps(served.stop()).count("Traceback") == 0


@pytest.mark.parametrize("name", ["reacher", "arm_reach"])
def test_bodies_are_shown_and_obey(open_page, serve, name):
    served = serve(name)
    page = open_page(served)
    until(page, lambda page: words(page).startswith("at the goal"), 60)
    assert "Traceback" not in served.stop()
