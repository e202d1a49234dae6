"""Raw pyzmq sockets that move the images of `forward.py` from one process to another, as plainly as can be."""

from __future__ import annotations

import time
from typing import Final

import zmq  # noqa: TID251  # it is what ours is measured against

from tools.bench.camera_pool import POOL, make_images, read_stamp, stamp
from tools.bench.child import BenchError, Control
from tools.bench.forward_ours import WARM, Job

_HWM: Final = 8
"""Images under way in a socket; each is stamped anew only after `POOL` others."""


def receive(job: Job, control: Control) -> None:
    """Count images a second, and look whether each is the right one."""
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.rcvhwm = _HWM
        if "public" in job:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_server = job["public"], job["secret"], True
        control.report(port=socket.bind_to_random_port("tcp://127.0.0.1"))
        expected = 0
        begin, count = 0.0, 0
        while not begin or time.perf_counter() < begin + job["seconds"]:
            _, image = socket.recv_multipart(copy=False)
            if read_stamp(image.buffer) != expected:
                raise BenchError(f"image {expected} arrived wrong")
            expected += 1
            count += 1
            if expected == WARM:
                begin, count = time.perf_counter(), 0
        control.report(rate=count / (time.perf_counter() - begin))
        control.wait()


def send(job: Job, control: Control) -> None:
    """Send as fast as the socket takes it."""
    images = make_images()
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.sndhwm = _HWM
        if "public" in job:
            socket.curve_publickey, socket.curve_secretkey = job["own_public"], job["own_secret"]
            socket.curve_serverkey = job["public"]
        socket.connect(f"tcp://127.0.0.1:{job['port']}")
        control.report()
        sequence = 0
        while True:
            image = images[sequence % POOL]
            stamp(image, sequence)
            socket.send_multipart([b"cam", image], copy=False)
            sequence += 1
