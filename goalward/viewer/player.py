"""The loop behind the page: a world that goes on at its own pace, and heeds what people do."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import matplotlib
import numpy as np

from goalward.errors import MachineError, UserError
from goalward.viewer.scene import Scene, aimed
from goalward.viewer.stage import SPEEDS, Event, Words, touched

FRAMES, WORDS, CARPETS, LOOKS = 1 / 30, 0.2, 1.0, 2.0  # seconds from one to the next
BREATH = 4.0  # a carpet comes no sooner than after so many times what the last one took
STAYS = 1.5  # seconds of the world at a goal before the tour goes on
LATEST = ("drag", "number", "speed", "checkpoint", "run")  # events of which the last one alone counts
TOLD = (UserError, MachineError, OSError)  # what is said on the page, and ends nothing


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
        """What they are called, each otherwise, oldest first; more of them while it learns."""
        ...

    def load(self, checkpoint: str) -> Acts:
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
    def show_run(self, chosen: int) -> None: ...
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
        self._moved, self._stale = True, False  # whether what is shown, and the carpet, are of before
        self._next_carpet = -np.inf  # no sooner
        page.offer_runs([choice.name for choice in choices])
        self._load(0, choices[0].checkpoints())

    def play(self, should_stop: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """Go on until told to stop."""
        step, frame, words, look = [clock()] * 4
        while not should_stop():
            for event in latest(self._page.events()):
                self.heed(event)
            now = clock()
            if self._playing and now >= step:
                self._playing = self._try(self._forward)
                step = max(step + 1 / (self._scene.rate * self._speed), now - FRAMES)
            if now >= frame:
                self._try(self._show)
                frame = now + FRAMES
            if now >= words:
                self._tell()
                words = now + WORDS
            if self._carpet and now >= self._next_carpet:
                begun = clock()
                self._try(self._lay_carpet)
                self._next_carpet = clock() + max(CARPETS, BREATH * (clock() - begun))
            if now >= look:
                self._try(self._follow)
                look = now + LOOKS
            time.sleep(max(0.0, min(frame, step if self._playing else frame) - clock()))

    def heed(self, event: Event) -> None:
        """Do what a person asked for; what cannot be done is told on the page, which shows how it stands."""
        self._note = ""
        if not self._try(getattr(self, event.name), *(() if event.value is None else (event.value,))):
            self._page.show_goal(self._world.goal)
            self._page.show_run(self._chosen)
            self._page.show_choices(self._names, self._names.index(self._checkpoint))

    def _try(self, action: Callable[..., None], *given: Any) -> bool:
        """Do something; whether it could be done."""
        try:
            action(*given)
        except TOLD as error:
            self._note = str(error)
            return False
        return True

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
        goal = self._world.goal
        with np.errstate(over="ignore"):  # which is told below
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
        self._speed = float(np.clip(factor, *SPEEDS))  # what is typed beside a slider may be anything

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
        self._tour, self._tried = wanted, 0

    def carpet(self, wanted: bool) -> None:
        """Whether learned distances are shown."""
        self._carpet, self._stale, self._next_carpet = wanted, True, -np.inf
        if not wanted:
            self._page.show_carpet(None)
        elif self._acts.value is None:
            raise UserError("this agent came without what it knows of distances")

    def run(self, number: int) -> None:
        """Let another agent act, at its last checkpoint."""
        chosen = min(max(int(number), 0), len(self._choices) - 1)
        self._load(chosen, self._choices[chosen].checkpoints())

    def checkpoint(self, number: int) -> None:
        """Let the agent act as it was then."""
        name = self._names[min(max(int(number), 0), len(self._names) - 1)]
        self._load(self._chosen, self._names, name)

    # What follows --------------------------------------------------------------------------------------

    def _load(self, chosen: int, names: list[str], checkpoint: str = "") -> None:
        """Let an agent act from now on, by default as at its last checkpoint."""
        checkpoint = checkpoint or names[-1]
        acts = self._choices[chosen].load(checkpoint)
        acts.reset()
        self._acts, self._chosen, self._names, self._checkpoint = acts, chosen, names, checkpoint
        self._stale = True
        self._page.show_run(chosen)
        self._page.show_choices(names, names.index(checkpoint))

    def _forward(self) -> None:
        world = self._world
        world.step(self._acts.act(world.obs, world.goal))
        self._moved = True
        if world.over:
            goal = world.goal
            self._begin()
            if np.isfinite(goal).all() and not self._scene.follows:
                world.goal = goal
                self._page.show_goal(goal)
        self._tried += 1
        self._stayed = self._stayed + 1 if world.success else 0
        reached = self._stayed >= STAYS * self._scene.rate
        if self._tour and (reached or self._tried >= self._scene.patience):
            self.another()

    def _begin(self) -> None:
        self._world.reset()
        self._acts.reset()

    def _aim(self, mark: int, place: np.ndarray, axes: list[int]) -> None:
        self._command(aimed(self._scene, self._world.goal, mark, place, axes))

    def _command(self, goal: np.ndarray) -> None:
        if self._scene.follows:
            raise UserError("the goal moves with the world here, and cannot be set")
        if not np.isfinite(goal).all():
            raise UserError("a goal is made of finite numbers")
        if any(self._scene.wall(mark.position[:2]) for mark in self._scene.marks(goal)):
            raise UserError("there is a wall")
        self._world.goal = goal
        self._tour = self._page.tour.value = False
        self._changed()

    def _changed(self) -> None:
        """Another goal is commanded: at once, also to an agent in the midst of a chunk of actions."""
        self._acts.reset()
        self._stayed = self._tried = 0
        self._moved = self._stale = True
        self._page.show_goal(self._world.goal)

    def _show(self) -> None:
        if self._moved:
            self._moved, world = False, self._world
            self._page.show(world.state, world.obs, world.goal)
            if self._scene.follows:
                self._page.show_goal(world.goal)

    def _tell(self) -> None:
        world, title = self._world, self._choices[self._chosen].name
        seconds = world.steps / self._scene.rate
        self._page.show_words(Words(title, world.distance, world.success, seconds, self._note))

    def _follow(self) -> None:
        """Look for new checkpoints; who looks at the last one goes on with the new one."""
        names = self._choices[self._chosen].checkpoints()
        if names == self._names:
            return
        goes_on = self._checkpoint == self._names[-1] or self._checkpoint not in names
        if goes_on and names[-1] != self._checkpoint:
            self._load(self._chosen, names)
        else:
            self._names = names
            self._page.show_choices(names, names.index(self._checkpoint))

    def _lay_carpet(self) -> None:
        """Lay it anew, if it would be another."""
        ground, value = self._scene.ground, self._acts.value
        if ground is None or value is None:
            self._page.show_carpet(None)
        elif self._stale or ground.of_posture:
            self._stale, world, free = False, self._world, ground.free
            obs = ground.there(world.obs, ground.points[free])
            near = np.asarray(value(obs, np.tile(world.goal, (len(obs), 1))))
            self._page.show_carpet(painted(near, free))


def latest(events: Iterable[Event]) -> list[Event]:
    """Events in order; of those that only set something, such as a drag's many, the last of each."""
    found: dict[Any, Event] = {}
    for number, event in enumerate(events):
        which = event.value[0] if event.name in ("drag", "number") else None
        key = (event.name, which) if event.name in LATEST else number
        found.pop(key, None)
        found[key] = event
    return list(found.values())


def painted(near: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Colours (rows, columns, 4) uint8 of numbers (K,) at the places that are free: bright where large."""
    low, high = np.quantile(near, [0.02, 1.0])
    share = np.clip((near - low) / max(float(high - low), 1e-9), 0, 1)
    image = np.zeros((*free.shape, 4), np.uint8)
    image[free] = np.round(255 * matplotlib.colormaps["viridis"](share)).astype(np.uint8)
    image[free, 3] = 230
    return image
