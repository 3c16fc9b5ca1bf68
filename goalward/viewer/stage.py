"""The page: a scene and its controls in the browser, and what people do there as a queue of events."""

import socket
import string
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import Any, NamedTuple

import numpy as np

from goalward.errors import MachineError
from goalward.viewer import library
from goalward.viewer.guard import guarded, new_token
from goalward.viewer.scene import Mark, Scene, Shape, movable

HOST = "127.0.0.1"
CELLS, SECTIONS = (214, 218, 226), (190, 196, 208)  # of the lines on the ground
GOAL_COLOUR, GOAL_OPACITY = (222, 41, 64), 0.65
MOST_NUMBERS = 12  # of a goal, to be typed
BUTTONS = {"Play or pause": "pause", "Step": "step", "New episode": "reset", "New goal": "another"}
VIEWS = {"From above": True, "From the side": False}
SPEEDS = (0.1, 4.0)
NEAREST = 0.35  # of a sphere's distance to the camera, in radii of the scene: others are too small to be seen
TURNED_OVER = (0.0, 1.0, 0.0, 0.0)  # about x, as pictures lie whose rows go from north to south
CARPET_HEIGHT = 0.004  # above the ground, in radii of the scene


class Event(NamedTuple):
    """What a person did on the page."""

    name: str  # a method of who listens
    value: Any = None


class Words(NamedTuple):
    """What the page says in words."""

    title: str
    distance: float
    reached: bool
    time: float  # seconds of the world since the episode began
    note: str = ""


class Stage:
    """One page, of which any number of viewers see the same. What they do waits in `events`."""

    def __init__(self, scene: Scene, title: str, goal: np.ndarray, port: int = 0):
        viser = library()
        check_free(port)
        self.scene, self.token = scene, new_token()
        self._queue: SimpleQueue[Event] = SimpleQueue()
        cookie = f"goalward-{token_hex(4)}"  # browsers keep those of all ports together
        with guarded(self.token, cookie), redirect_stdout(StringIO()):  # its own words name no token
            self._server = viser.ViserServer(host=HOST, port=port, label=title, verbose=False)
        # Viser can show a page to the whole world, by a server of its makers.
        for message in (viser._messages.ShareUrlRequest, viser._messages.ShareUrlDisconnect):
            self._server._websock_server.unregister_handler(message)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(27, 108, 168))
        self._shapes = [self._add(i, shape) for i, shape in enumerate(scene.shapes)]
        self._marks: list[Any] = []
        self._carpet: Any = None
        self._numbers: list[Any] = []
        self._controls()
        self._picture: Any = None
        if scene.picture is None:
            self._lay_ground()
            self._add_marks(goal)
        self._server.scene.set_up_direction("+z")
        self._look(self._server.initial_camera, above=scene.above or scene.picture is not None)
        self._goal_numbers(goal)
        self.show_goal(goal)

    @property
    def address(self) -> str:
        """What to open in the browser; whoever has it may command."""
        return f"http://{HOST}:{self._server.get_port()}/?token={self.token}"

    def events(self) -> Iterator[Event]:
        """What was done since the last call."""
        with suppress(Empty):
            while True:
                yield self._queue.get_nowait()

    def close(self) -> None:
        """Stop serving."""
        with redirect_stdout(StringIO()):
            self._server.stop()

    # What is shown -------------------------------------------------------------------------------------

    def show(self, state: Any, obs: np.ndarray, goal: np.ndarray) -> None:
        """Put all that moves where it is now."""
        if self.scene.picture is not None:
            self._hang(self.scene.picture(state, obs, goal))
            return
        places, turns = self.scene.pose(state, obs)
        with self._server.atomic():
            for handle, shape, place, turn in zip(self._shapes, self.scene.shapes, places, turns, strict=True):
                if shape.moves:
                    handle.position, handle.wxyz = place, turn

    def show_goal(self, goal: np.ndarray) -> None:
        """Put spheres and numbers where a goal (G,) is."""
        with self._server.atomic():
            least = 1e-6 * self.scene.radius  # what is rounded by the way of a drag is left as it is
            for (handle, sphere), mark in zip(self._marks, self.scene.marks(goal), strict=True):
                sphere.position = mark.position
                if np.abs(handle.position - mark.position).max() > least:
                    handle.position = mark.position
            for number, value in zip(self._numbers, goal.tolist(), strict=False):
                number.value = round(value, 4)

    def show_words(self, words: Words) -> None:
        """Say how it stands."""
        reached = "**at the goal**" if words.reached else "not at the goal"
        note = f"*{plain(words.note)}*" if words.note else ""
        title, distance = plain(words.title), f"{reached}, distance {words.distance:.3g}"
        text = "\n\n".join(line for line in (title, distance, f"{words.time:.1f} s", note) if line)
        if text != self._words.content:
            self._words.content = text

    def show_carpet(self, image: np.ndarray | None) -> None:
        """Lay a picture (rows, columns, 4) uint8 on the scene's ground, or take it away."""
        if self._carpet is not None:
            self._carpet.visible = image is not None
        if image is None or self.scene.ground is None:
            return
        if self._carpet is not None:
            self._carpet.image = image
            return
        points = self.scene.ground.points
        (left, top), (right, bottom) = points[0, 0], points[-1, -1]
        rows, columns = points.shape[:2]
        width = (right - left) * columns / max(1, columns - 1)
        height = (top - bottom) * rows / max(1, rows - 1)
        middle = np.array(
            [(left + right) / 2, (top + bottom) / 2, self.scene.floor + CARPET_HEIGHT * self.scene.radius]
        )
        self._carpet = self._server.scene.add_image(
            "/carpet", image, width, height, format="png", position=middle, wxyz=TURNED_OVER,
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip

    def show_run(self, chosen: int) -> None:
        """Say which of the agents acts."""
        if self._run is not None:
            self._run.value, self._run.label = chosen, self._run_names[chosen]

    def show_choices(self, names: list[str], chosen: int) -> None:
        """Offer the checkpoints of the agent that acts; a single one needs no slider."""
        slider = self._checkpoint
        slider.visible = len(names) > 1
        if len(names) > 1:
            slider.max = len(names) - 1
            slider.value = chosen
            slider.label = f"after {names[chosen]}"

    # Its parts -----------------------------------------------------------------------------------------

    def _add(self, number: int, shape: Shape) -> Any:
        *colour, opacity = shape.colour
        rgb = tuple(round(255 * part) for part in colour)
        return self._server.scene.add_mesh_simple(
            f"/shapes/{number}", shape.vertices, shape.faces, color=rgb, side="double",
            opacity=None if opacity >= 1 else opacity,
        )  # fmt: skip

    def _hang(self, image: np.ndarray) -> None:
        """Lay a picture (height, width, 3) uint8 where all of it is seen from above."""
        if self._picture is not None:
            self._picture.image = image
            return
        height, width, _ = image.shape
        longest = max(height, width) / (2 * self.scene.radius)
        self._picture = self._server.scene.add_image(
            "/picture", image, width / longest, height / longest, wxyz=TURNED_OVER, cast_shadow=False,
            receive_shadow=False,
        )  # fmt: skip

    def _lay_ground(self) -> None:
        scene, api = self.scene, self._server.scene
        side, cell = 20 * scene.radius, 10 ** np.floor(np.log10(scene.radius))
        api.add_grid(
            "/ground", side, side, cell_size=cell, section_size=5 * cell, cell_color=CELLS,
            section_color=SECTIONS, position=(*scene.centre[:2], scene.floor),
        )  # fmt: skip

        @api.on_click()
        async def _(event: Any) -> None:
            self._say("click", (event.ray_origin, event.ray_direction))

    def _look(self, camera: Any, *, above: bool) -> None:
        away = np.array([0.0, -0.25, 2.6]) if above else np.array([0.9, -1.4, 1.0])
        camera.position = self.scene.centre + self.scene.radius * away
        camera.look_at = self.scene.centre

    def _add_marks(self, goal: np.ndarray) -> None:
        api, least = self._server.scene, 0.015 * self.scene.radius
        for i, mark in enumerate(self.scene.marks(goal)):
            axes = movable(self.scene, goal, i)
            radius = max(mark.radius, least)
            handle = api.add_transform_controls(
                f"/goals/{i}", scale=max(3 * radius, NEAREST * self.scene.radius), active_axes=axes,
                disable_rotations=True, disable_sliders=sum(axes) < 2, depth_test=False, opacity=0.7,
                position=mark.position,
            )  # fmt: skip
            sphere = api.add_icosphere(f"/spheres/{i}", radius, color=GOAL_COLOUR, opacity=GOAL_OPACITY,
                                       position=mark.position, cast_shadow=False)  # fmt: skip
            self._hear(handle, "drag", lambda i=i, handle=handle: (i, handle.position))
            self._marks.append((handle, sphere))

    def _controls(self) -> None:
        gui = self._server.gui
        self._words = gui.add_markdown("")
        buttons = gui.add_button_group("World", tuple(BUTTONS))

        @buttons.on_click
        async def _(event: Any) -> None:
            self._say(BUTTONS[event.target.value])

        speed = gui.add_slider("Speed", *SPEEDS, 0.1, 1.0, hint="1 is as fast as the world is")
        self._value(speed, "speed")
        self.tour = gui.add_checkbox(
            "Tour",
            True,
            hint="Another goal when one was reached, or an episode's time was over, until you set one",
        )
        self._value(self.tour, "tour")
        carpet = gui.add_checkbox(
            "Learned distance", False, visible=self.scene.ground is not None,
            hint="From each place on the ground to the goal: bright is near",
        )  # fmt: skip
        self._value(carpet, "carpet")
        self._run: Any = None
        self._checkpoint = gui.add_slider("Checkpoint", 0, 1, 1, 0, visible=False)
        self._value(self._checkpoint, "checkpoint")
        if self.scene.picture is None:
            views = gui.add_button_group("Look", tuple(VIEWS))

            @views.on_click
            async def _(event: Any) -> None:
                if event.client is not None:
                    self._look(event.client.camera, above=VIEWS[event.target.value])

    def offer_runs(self, names: list[str]) -> None:
        """A slider over agents, where there are several."""
        if len(names) > 1:
            self._run_names, beside = names, self._checkpoint.order - 0.5
            self._run = self._server.gui.add_slider("Agent", 0, len(names) - 1, 1, 0, order=beside)
            self._value(self._run, "run")

    def _goal_numbers(self, goal: np.ndarray) -> None:
        if len(goal) > MOST_NUMBERS:
            return
        with self._server.gui.add_folder("Goal in numbers", expand_by_default=False):
            for i, value in enumerate(goal.tolist()):
                number = self._server.gui.add_number(str(i), round(value, 4), step=1e-4)
                self._numbers.append(number)
                self._hear(number, "number", lambda i=i, number=number: (i, number.value))

    def _value(self, handle: Any, name: str) -> None:
        self._hear(handle, name, lambda: handle.value)

    def _hear(self, handle: Any, name: str, value: Callable[[], Any]) -> None:
        """Tell what people change, in order; what this page itself sets is no event."""

        @handle.on_update
        async def _(event: Any) -> None:
            if event.client is not None:
                self._say(name, value())

    def _say(self, name: str, value: Any = None) -> None:
        self._queue.put(Event(name, value))


def plain(text: str) -> str:
    """Markdown that shows a text as it is, in one line, whatever is in it."""
    escaped = {ord(letter): f"\\{letter}" for letter in string.punctuation}
    return " ".join(text.split()).translate(escaped)


def check_free(port: int) -> None:
    """Raise `MachineError` for a port that cannot be had; 0 is any that is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise MachineError(f"port {port} cannot be had: {error.strerror}; name another, or none") from error


def touched(scene: Scene, marks: list[Mark], ray: tuple[Any, Any]) -> tuple[int, np.ndarray] | None:
    """Which mark a click commands, and where to: on the level of that mark; None where it meets no ground.

    `ray`: origin (3,) and direction (3,).
    """
    origin, direction = (np.asarray(part, float) for part in ray)
    if not marks or abs(direction[2]) < 1e-9:
        return None
    found = []
    for i, mark in enumerate(marks):
        along = (mark.position[2] - origin[2]) / direction[2]
        place = origin + along * direction
        if along > 0 and np.linalg.norm(place - scene.centre) < 10 * scene.radius:
            found.append((float(np.linalg.norm(place - mark.position)), i, place))
    if not found:
        return None
    _, i, place = min(found, key=lambda one: one[:2])
    return i, place
