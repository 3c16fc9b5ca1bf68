"""Pictures of an environment in states that were kept, as it draws itself."""

from collections.abc import Iterable, Iterator

import numpy as np

from goalward.errors import UserError
from goalward.foreign import making, probe, snapshot
from goalward.foreign.making import Recipe


def frames(recipe: Recipe, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pictures (height, width, 3) uint8 of states whose snapshots are `rows` (S,), drawn as they are asked for.

    Raises `UserError` for an environment that does not draw itself.
    """
    plain = probe.make(recipe)
    making.reset(plain, 0)
    kept = snapshot.leaves(plain)
    env = probe.make(recipe, render_mode="rgb_array")
    making.reset(env, 0)
    for row in rows:
        snapshot.put(env, kept, row)
        try:
            picture = env.render()
        except NotImplementedError:
            raise UserError(f"{recipe.name} cannot be drawn: it has no render()") from None
        except Exception as error:  # whatever another's code raises
            raise UserError(f"{recipe.name} cannot be drawn: {probe.told(error)}") from error
        if not isinstance(picture, np.ndarray):
            raise UserError(
                f"{recipe.name} cannot be drawn: its render gives no picture for render_mode='rgb_array'"
            )
        yield picture
