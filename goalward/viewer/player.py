"""The loop behind the page: a world that goes on at its own pace, and heeds what people do."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib
import numpy as np

from goalward.errors import UserError
from goalward.viewer.scene import Scene, aimed
from goalward.viewer.stage import Event, Words, touched

FRAMES, WORDS, CARPETS, LOOKS = 1 / 30, 0.2, 1.0, 2.0  # seconds from one to the next
STAYS, GIVES_UP = 1.5, 60.0  # seconds of the world at a goal, and on the way to it, before the tour goes on


class Acts(NamedTuple):
    """How one agent decides, and what it knows of distances."""

    act: Callable[[np.ndarray, np.ndarray], np.ndarray]  # (obs (D,), goal (G,)) -> action (A,)
    reset: Callable[[], None]  # before a new episode
    value: (
        Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    )  # (obs (K, D), goal (K, G)) -> (K,), more is nearer


@runtime_checkable
class Choice(Protocol):
    """An agent that can be chosen, at one of its checkpoints."""

    @property
    def name(self) -> str: ...
    def checkpoints(self) -> list[str]:
        """What they are called, oldest first; more of them while it learns."""
        ...

    def load(self, checkpoint: int) -> Acts:
        """The agent at a checkpoint. Raises `UserError` where it is gone."""
        ...


@runtime_checkable
class World(Protocol):
    """One world, stepped by hand."""

    @property
    def goal(self) -> np.ndarray: ...
    @goal.setter
    def goal(self, goal: Any) -> None: ...
    @property
    def obs(self) -> np.ndarray: ...
    @property
    def state(self) -> Any: ...
    @property
    def distance(self) -> float: ...
    @property
    def success(self) -> bool: ...
    @property
    def steps(self) -> int: ...
    @property
    def over(self) -> bool: ...
    def reset(self) -> Any: ...
    def step(self, action: np.ndarray) -> Any: ...


@runtime_checkable
class Page(Protocol):
    """What shows the world, and tells what people do; see `Stage`."""

    @property
    def tour(self) -> Any: ...
    def events(self) -> Iterator[Event]: ...
    def offer_runs(self, names: list[str]) -> None: ...
    def show(self, state: Any, obs: np.ndarray, goal: np.ndarray) -> None: ...
    def show_goal(self, goal: np.ndarray) -> None: ...
    def show_words(self, words: Words) -> None: ...
    def show_carpet(self, image: np.ndarray | None) -> None: ...
    def show_choices(self, names: list[str], chosen: int) -> None: ...


class Player:
    """One world, the agent that acts in it, and the page that shows both."""

    def __init__(
        self,
        world: World,
        scene: Scene,
        page: Page,
        choices: Sequence[Choice],
        another: Callable[[], np.ndarray | None],
    ):
        """`another` draws a goal, or is None where only a new episode has one."""
        self._another = another
        self._world, self._scene, self._page, self._choices = world, scene, page, choices
        self._playing, self._speed, self._tour, self._carpet = True, 1.0, True, False
        self._note, self._stayed, self._tried = "", 0, 0  # steps at the goal, and since it is commanded
        self._chosen, self._names, self._checkpoint = 0, [""], 0
        page.offer_runs([choice.name for choice in choices])
        self.run(0)

    def play(self, should_stop: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """Go on until told to stop."""
        step, frame, words, carpet, look = [clock()] * 5
        while not should_stop():
            for event in self._page.events():
                self.heed(event)
            now = clock()
            if self._playing and now >= step:
                self._forward()
                step = max(step + 1 / (self._scene.rate * self._speed), now - FRAMES)
            if now >= frame:
                self._page.show(self._world.state, self._world.obs, self._world.goal)
                frame = now + FRAMES
            if now >= words:
                self._tell()
                words = now + WORDS
            if now >= carpet:
                self._lay_carpet()
                carpet = now + CARPETS
            if now >= look:
                self._follow()
                look = now + LOOKS
            time.sleep(max(0.0, min(frame, step if self._playing else frame) - clock()))

    def heed(self, event: Event) -> None:
        """Do what a person asked for; what cannot be done is told on the page."""
        self._note = ""
        try:
            getattr(self, event.name)(*(() if event.value is None else (event.value,)))
        except UserError as error:
            self._note = f"*{error}*"

    # What people do ------------------------------------------------------------------------------------

    def click(self, ray: tuple[Any, Any]) -> None:
        """Command the place that was clicked on."""
        marks = self._scene.marks(self._world.goal)
        found = touched(self._scene, marks, ray)
        if found is not None:
            mark, place = found
            self._aim(mark, place, [0, 1])

    def drag(self, moved: tuple[int, Any]) -> None:
        """Command where a mark was dragged to."""
        mark, place = moved
        self._aim(mark, np.asarray(place), [0, 1, 2])

    def number(self, given: tuple[int, float]) -> None:
        """Set one number of the goal."""
        goal = self._world.goal.copy()
        goal[given[0]] = given[1]
        self._command(goal)

    def pause(self) -> None:
        """Stop, or go on."""
        self._playing = not self._playing

    def step(self) -> None:
        """Go one step, and stand still."""
        self._playing = False
        self._forward()

    def speed(self, factor: float) -> None:
        """Set how fast the world goes."""
        self._speed = factor

    def reset(self) -> None:
        """Start another episode, with its own goal."""
        self._begin()
        self._changed()

    def another(self) -> None:
        """Command a goal that the environment draws."""
        goal = self._another()
        if goal is None:
            self._begin()
        else:
            self._world.goal = goal
        self._changed()

    def tour(self, wanted: bool) -> None:
        """Whether another goal follows when one was reached."""
        self._tour = wanted

    def carpet(self, wanted: bool) -> None:
        """Whether learned distances are shown."""
        self._carpet = wanted
        self._lay_carpet()

    def run(self, number: int) -> None:
        """Let another agent act, at its last checkpoint."""
        self._chosen = int(number)
        self._names = self._choices[self._chosen].checkpoints()
        self.checkpoint(len(self._names) - 1)

    def checkpoint(self, number: int) -> None:
        """Let the agent act as it was then."""
        self._checkpoint = min(int(number), len(self._names) - 1)
        self._acts = self._choices[self._chosen].load(self._checkpoint)
        self._acts.reset()
        self._page.show_choices(self._names, self._checkpoint)
        self._lay_carpet()

    # What follows --------------------------------------------------------------------------------------

    def _forward(self) -> None:
        world = self._world
        world.step(self._acts.act(world.obs, world.goal))
        if world.over:
            goal = world.goal.copy()
            self._begin()
            world.goal = goal
        self._tried += 1
        self._stayed = self._stayed + 1 if world.success else 0
        seconds = self._stayed / self._scene.rate, self._tried / self._scene.rate
        if self._tour and (seconds[0] >= STAYS or seconds[1] >= GIVES_UP):
            self.another()

    def _begin(self) -> None:
        self._world.reset()
        self._acts.reset()

    def _aim(self, mark: int, place: np.ndarray, axes: list[int]) -> None:
        if self._scene.wall(place[:2]):
            raise UserError("there is a wall")
        self._command(aimed(self._scene, self._world.goal, mark, place, axes))

    def _command(self, goal: np.ndarray) -> None:
        self._world.goal = goal
        self._tour = self._page.tour.value = False
        self._changed()

    def _changed(self) -> None:
        self._stayed = self._tried = 0
        self._page.show_goal(self._world.goal)
        self._lay_carpet()

    def _tell(self) -> None:
        world = self._world
        title = self._choices[self._chosen].name
        self._page.show_words(
            Words(title, world.distance, world.success, world.steps / self._scene.rate, self._note)
        )

    def _follow(self) -> None:
        """Look for new checkpoints; who looks at the last one goes on with the new one."""
        try:
            names = self._choices[self._chosen].checkpoints()
            if names != self._names:
                was_last = self._checkpoint == len(self._names) - 1
                here = self._names[self._checkpoint]
                self._names = names
                self.checkpoint(len(names) - 1 if was_last or here not in names else names.index(here))
        except UserError as error:  # it was removed meanwhile; the agent at hand goes on
            self._note = f"*{error}*"

    def _lay_carpet(self) -> None:
        ground, value = self._scene.ground, self._acts.value
        if ground is None or not self._carpet:
            self._page.show_carpet(None)
            return
        if value is None:
            self._note = "*this agent came without what it knows of distances*"
            return
        world, free = self._world, ground.free
        obs = ground.there(world.obs, ground.points[free])
        near = np.asarray(value(obs, np.tile(world.goal, (len(obs), 1))))
        self._page.show_carpet(painted(near, free))


def painted(near: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 4) uint8 of numbers (K,) at the places that are free: bright where large."""
    low, high = np.quantile(near, [0.02, 1.0])
    share = np.clip((near - low) / max(float(high - low), 1e-9), 0, 1)
    image = np.zeros((*free.shape, 4), np.uint8)
    image[free] = np.round(255 * matplotlib.colormaps["viridis"](share)).astype(np.uint8)
    image[free, 3] = 230
    return image
