"""iceoryx2: publish and subscribe without loss, an event to wake who sleeps; the writer copies into loaned memory."""

from __future__ import annotations

import ctypes
import importlib
from typing import TYPE_CHECKING, Any, Final

from tools.bench.transport import PATIENCE_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tools.bench.feed import Feed
    from tools.bench.sink import Sink
    from tools.bench.transport import Job

MOST_READERS: Final = 8


class Iceoryx:
    """A service of bytes and a service of events."""

    block = 0

    def __init__(self, job: Job) -> None:
        self._job = job

    def write(self, feed: Feed) -> None:
        """Copy each item into a loan, send it, notify."""
        library, items, events = self._open()
        size, copy = self._job.payload.bytes, ctypes.memmove
        publisher = (
            items.publisher_builder()
            .initial_max_slice_len(size)
            .max_loaned_samples(2)
            .backpressure_strategy(library.BackpressureStrategy.RetryUntilDelivered)
            .create()
        )
        loan, notify = publisher.loan_slice_uninit, events.notifier_builder().create().notify
        known: dict[int, tuple[NDArray[Any], int]] = {}  # asking numpy for an address costs more than the copy
        feed.start()
        for item in feed:
            source = known.get(id(item))
            if source is None:
                source = known[id(item)] = (item, item.ctypes.data)
            sample = loan(size)
            copy(sample.payload_ptr, source[1], size)
            sample.assume_init().send()
            notify()

    def read(self, sink: Sink) -> None:
        """Look at each item where it is, then give it back."""
        library, items, events = self._open()
        receive = items.subscriber_builder().create().receive
        wait = events.listener_builder().create().timed_wait
        patience = library.Duration.from_millis(int(PATIENCE_S * 1000))
        image = ctypes.c_uint8 * self._job.payload.bytes
        known: dict[int, memoryview] = {}
        sink.start()
        is_last = False
        while not is_last:
            sample = receive()
            if sample is None:
                wait(patience)
                continue
            address = sample.payload_ptr
            words = known.get(address)
            if words is None:
                words = known[address] = memoryview(image.from_address(address)).cast("B").cast("Q")
            is_last = sink.take(words)
            sample.delete()

    def close(self) -> None:
        """Nothing is left: its own clean-up looks after the dead."""

    def _open(self) -> tuple[Any, Any, Any]:
        """Return the library, the service of items and the service of events."""
        library: Any = importlib.import_module("iceoryx2")
        library.set_log_level(library.LogLevel.Error)
        node = library.NodeBuilder.new().create(library.ServiceType.Ipc)
        items = (
            node.service_builder(library.ServiceName.new(self._job.name))
            .publish_subscribe(library.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .history_size(0)
            .subscriber_max_buffer_size(self._job.payload.slots)
            .subscriber_max_borrowed_samples(2)
            .max_subscribers(MOST_READERS)
            .max_publishers(1)
            .payload_alignment(library.Alignment.new(64))
            .open_or_create()
        )
        events = node.service_builder(library.ServiceName.new(f"{self._job.name}-events")).event().open_or_create()
        return library, items, events
