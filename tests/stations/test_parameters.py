"""What a source lets people set while it runs."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from stations.errors import SourceError, StationError
from stations.orders import Orders
from stations.sources import check_items
from stations.sources.camera import CameraSource
from stations.sources.parameters import Parameter, set_parameter
from stations.sources.signal import SignalSource


def test_a_brighter_exposure_is_seen_and_every_image_still_proves_itself() -> None:
    """The parameter changes the picture, not the numbers."""
    camera = CameraSource(shape=(32, 48), rate=60.0)
    camera.open()
    dark, bright = np.empty((2, 3, 32, 48), np.uint8)
    camera.read_into(dark)
    assert set_parameter(camera, "exposure", 2) == 2.0
    camera.read_into(bright)
    assert bright.mean() > dark.mean() + 30
    assert len(check_items(np.concatenate([dark, bright]), "camera")) == 0
    camera.close()


def test_a_higher_amplitude_is_seen_and_every_sample_still_proves_itself() -> None:
    """Also when it was set before the source was opened."""
    signal = SignalSource(channels=6, rate=1000.0)
    set_parameter(signal, "amplitude", 8000.0)
    signal.open()
    samples = np.empty((4000, 6), np.int16)
    assert signal.read_into(samples) == 4000
    assert 7000 < np.abs(samples[:, :3]).max() < 9000
    assert len(check_items(samples, "signal")) == 0
    signal.close()


@pytest.mark.parametrize(
    ("parameter", "value", "why"),
    [
        (Parameter(float, 0.0, 1.0, unit="s"), 2.0, r"x = 2.0: expected float from 0 to 1 s"),
        (Parameter(float, 0.0, None), float("nan"), r"expected float from 0 to …"),
        (Parameter(int, 1), 0, r"expected int from 1 to …"),
        (Parameter(int), 1.5, r"expected int"),
        (Parameter(int), True, r"x = True: expected int"),
        (Parameter(str, choices=("a", "b")), "c", r"expected one of 'a', 'b'"),
    ],
)
def test_a_value_that_is_none_of_the_parameter_is_refused(parameter: Parameter, value: Any, why: str) -> None:
    """With what would be one."""
    with pytest.raises(SourceError, match=why):
        parameter.take("x", value)


def test_a_source_without_parameters_says_so() -> None:
    """And one that has others names the nearest."""
    with pytest.raises(SourceError, match="has no parameters"):
        set_parameter(object(), "x", 1)
    with pytest.raises(SourceError, match="did you mean 'exposure'"):
        set_parameter(CameraSource(shape=(32, 48)), "exposre", 1.0)


def test_an_order_is_done_by_the_thread_that_looks_and_answered() -> None:
    """Its value, and its error, go to who placed it; one that nobody looks at is withdrawn."""
    orders = Orders()
    done: list[str] = []

    def name() -> str:
        done.append(threading.current_thread().name)
        return "set"

    def fail() -> None:
        raise SourceError("cannot")

    first, second = orders.place(name), orders.place(fail)
    worker = threading.Thread(target=orders.carry_out, name="worker")
    worker.start()
    assert first.wait(5) == "set"
    with pytest.raises(SourceError, match="cannot"):
        second.wait(5)
    worker.join()
    assert done == ["worker"]
    late = orders.place(name)
    with pytest.raises(StationError, match="will not be done"):
        late.wait(0.01)
    orders.carry_out()
    assert done == ["worker"]
