"""Profiles: every operation is counted once, in the part it belongs to."""

import pytest
import toy

from goalward import profile

PROGRAM = """
  %fusion.1 = f32[4]{0} fusion(%a), calls=%f, metadata={op_name="jit(iteration)/collect/while/add"}
  ROOT %dot.2 = f32[4,4]{1,0} dot(%a, %b), metadata={op_name="jit(iteration)/jvp(vmap())/dot_general" x=1}
  %copy.3 = f32[4]{0} copy(%a)
"""


def test_operations_are_named_by_where_they_come_from():
    assert profile.operation_names(PROGRAM) == {
        "fusion.1": "jit(iteration)/collect/while/add",
        "dot.2": "jit(iteration)/jvp(vmap())/dot_general",
    }


@pytest.mark.parametrize(
    ("op_name", "part"),
    [
        ("jit(iteration)/collect/while/body/dot_general", "collect"),
        ("jit(iteration)/insert/scatter", "insert"),
        ("jit(iteration)/while/body/sample/gather", "sample"),
        ("jit(iteration)/while/body/jvp(vmap())/dot_general", "forward"),
        ("jit(iteration)/while/body/transpose(jvp(vmap()))/dot_general", "backward"),
        ("jit(iteration)/while/body/optimiser/mul", "optimiser"),
        ("jit(iteration)/while/body/closed_call/add", "other"),
        ("", "other"),
    ],
)
def test_a_part_is_told_from_the_name(op_name, part):
    assert profile.part_of(op_name) == part


def test_a_run_is_profiled_without_changing_it(tmp_path):
    profiler = profile.Profiler(tmp_path / "profile")
    assert profiler.result() is None
    toy.run(tmp_path / "plain")
    toy.run(tmp_path / "run", profiler=profiler)
    assert toy.digest(tmp_path / "run") == toy.digest(tmp_path / "plain")
    found = profiler.result()
    assert set(found.parts) == set(profile.PARTS)
    assert all(found.parts[part] > 0 for part in profile.PARTS), found
    assert set(found.seconds) == {"iteration", "evaluate"}
    assert min(found.seconds.values()) > 0


def test_a_run_too_short_to_be_traced_has_no_profile(tmp_path):
    """Nor is an earlier trace in its folder taken for its own."""
    profiler = profile.Profiler(tmp_path / "profile")
    for name in ("iteration", "evaluate"):
        (profiler.folder / name).mkdir(parents=True)
        (profiler.folder / name / "earlier.xplane.pb").touch()
    stops = iter([False, True])
    toy.run(tmp_path / "run", profiler=profiler, should_stop=lambda: next(stops))
    assert profiler.result() is None
