import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rival_jax.runtime import checkpoints
from rival_jax.runtime.checkpoints import KEPT, Checkpoints

ABOUT = {"model": "a", "seeds": [0, 1]}


def state(scale: float = 1.0, width: int = 3):
    params = {"layer": {"kernel": scale * jnp.arange(2.0 * width).reshape(2, width)}}
    return {
        "params": params,
        "moments": optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.1)).init(params),
        "seen": jnp.float32(scale),
    }


def test_a_state_comes_back_with_its_position(tmp_path):
    folder = tmp_path / "state"
    saved = Checkpoints(folder, ABOUT)
    assert saved.restore(state()) is None
    assert not folder.exists()
    position = {"epoch": 3, "batch": 1, "history": [{"loss": 0.1 + 0.2}]}
    saved.save(7, state(2.0), position)
    found, place = Checkpoints(folder, ABOUT).restore(state())
    assert place == position
    np.testing.assert_array_equal(found["params"]["layer"]["kernel"][1], [6, 8, 10])
    assert float(found["seen"]) == 2
    assert isinstance(found["moments"][0], optax.ScaleByAdamState)


def test_the_newest_is_read_and_few_are_kept(tmp_path):
    saved = Checkpoints(tmp_path, ABOUT)
    for step in range(5):
        saved.save(step, state(step), {"epoch": step})
    saved.save(4, state(9.0), {"epoch": 9})  # is there already
    found, place = Checkpoints(tmp_path, ABOUT).restore(state())
    assert (float(found["seen"]), place) == (4, {"epoch": 4})
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == KEPT


def test_what_a_kill_left_half_written_is_not_read(tmp_path):
    saved = Checkpoints(tmp_path, ABOUT)
    saved.save(1, state(1.0), {"epoch": 1})
    half = tmp_path / "2.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    (half / "state" / "part").write_bytes(b"x")
    found, place = Checkpoints(tmp_path, ABOUT).restore(state())
    assert place == {"epoch": 1}
    assert float(found["seen"]) == 1


def test_a_flipped_bit_of_a_state_is_seen_wherever_it_is(tmp_path):
    folder = tmp_path / "state"
    saved = Checkpoints(folder, ABOUT)
    for step in range(1, 5):
        saved.save(step, state(step), {"epoch": step})
    noted = {file.stem for file in folder.glob("*.blake2b")}
    assert noted == {path.name for path in folder.iterdir() if path.is_dir()}
    for file in sorted(path for path in (folder / "4").rglob("*") if path.is_file()):
        before = file.read_bytes()
        for place in range(0, len(before), max(1, len(before) // 5)):
            file.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
            with pytest.raises(ValueError, match=r"state/4 (is not as it|cannot).*the one before"):
                Checkpoints(folder, ABOUT).restore(state())
        file.write_bytes(before)
    assert Checkpoints(folder, ABOUT).restore(state())[1] == {"epoch": 4}
    shutil.rmtree(folder / "4")
    assert Checkpoints(folder, ABOUT).restore(state())[1] == {"epoch": 3}


def test_another_run_and_another_architecture_are_named(tmp_path):
    Checkpoints(tmp_path, ABOUT).save(1, state(), {"epoch": 1})
    with pytest.raises(ValueError, match=r"another training \(seeds: \[0, 1\] there, \[0\] now\)"):
        Checkpoints(tmp_path, {**ABOUT, "seeds": [0]}).restore(state())
    with pytest.raises(
        ValueError, match=r"another architecture: .*layer/kernel is \(2, 3\), expected \(2, 4\)"
    ):
        Checkpoints(tmp_path, ABOUT).restore(state(width=4))


def test_states_are_due_by_the_clock(tmp_path):
    always = Checkpoints(tmp_path, ABOUT, seconds=0.0)
    assert [always.due(step) for step in range(3)] == [True] * 3
    rarely = Checkpoints(tmp_path, ABOUT, seconds=60.0)
    assert not any(rarely.due(step) for step in range(100))


def test_the_clock_is_asked_as_often_as_steps_are_slow(tmp_path, monkeypatch):
    """A step takes 1/4 s, a state is due every 10 s, the first step compiles for 20 s."""
    now, asked = [100.0], []
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(checkpoints.hosts, "agreed", lambda value: asked.append(now[0]) or value)
    saved = Checkpoints(tmp_path, ABOUT, seconds=10.0)
    nothing = SimpleNamespace(
        all_steps=list, save=lambda *args, **named: None, wait_until_finished=lambda: None
    )
    monkeypatch.setattr(saved, "_manager", lambda: nothing)
    monkeypatch.setattr(saved, "_note", lambda step: None)
    now[0] += 20
    states, step = [], 0
    while now[0] < 400:
        step += 1
        now[0] += 0.25
        if saved.due(step):
            states.append(now[0])
            saved.save(step, state(), {"epoch": step})
    gaps = np.diff(states)
    assert 10 <= gaps.min() <= gaps.max() < 15
    assert len(asked) < step / 4
