"""Conducts a run: who is told to START and STOP, in which order, and what came of it.  A state machine without I/O.

Rules of this file: everything that changes the run's phase is here; time comes in as `now` (seconds, any origin);
what is to be done comes out as effects.  The conductor does not remember what it *sent* but what each member has
*answered* since its last boot, so a member that died and came back is simply brought to where the run is.

waiting ──all members here, required streams ready──► starting ──recorder, then pilots answered START──► running
running ──duration over · all finite streams ended · asked──► stopping ──pilots, then recorder answered STOP──► done

A run that is to stand by goes from waiting to standby, in which pilots are told to ARM: their live sensors acquire and
nothing is forwarded.  An order takes it to starting, with the time of the order; asked to stop before, it is done
without a recording when the pilots have answered.

Between the pilots' answers and the recorder's STOP the run waits, for `drain_s` at most, for what is in their spools;
not for what the recorder's disk cannot take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .conductor_effects import Effect, Finished, Handshake, Key, Note, Phase, Send, StreamState
from .run_account import RunAccount
from .standby import Began, OrderStamp, RecordOrder, StartOrder

STOP_S: Final = 20.0
"""Seconds that the pilots' STOPs may take together, then the recorder's; after that the run ends with what is known."""
RETRY_S: Final = 0.5
"""Seconds before a member that answered with an error is asked again."""
MEMBERS_S: Final = 20.0
"""Seconds before a run tells which members it waits for: they take about two to come up, on a busy machine more."""
STREAMS_S: Final = 2.0
"""The same for streams, when all members are here."""
DISK_FAILED: Final = "disk_failed"
"""Kind of the event that the disk takes no more of a stream ..."""
DISK_BACK: Final = "disk_back"
"""... and that it does again."""
PILOT_DISK: Final = "pilot_disk"
"""Kind of the event that a Pilot's own disk takes no more of a stream; with an empty `error`, that it does again."""
DRAIN_S: Final = 30.0
"""Seconds that a run waits for the spools of its pilots when nobody says."""


@dataclass(slots=True)
class _Member:
    boot: str = ""
    asked: Key | None = None
    answered: set[Key] = field(default_factory=set)
    here: bool = False
    retry_at: float = 0.0


class Conductor:
    """One run of a rig: a recorder and its pilots."""

    def __init__(
        self,
        recorder: str,
        pilots: Mapping[str, Iterable[str]],
        start: dict[str, Any],
        duration_s: float | None = None,
        drain_s: float = DRAIN_S,
        *,
        required: Iterable[str] = (),
        records_streams: bool = True,
        standby: bool = False,
    ) -> None:
        """Describe the run.

        Args:
            recorder: address of the recorder, e.g. ``T.recorder``.
            pilots: streams of each pilot, by the pilot's id.
            start: value of the recorder's START (directory, rig, max_loss_s, …); `streams` and `resume` are added.
            duration_s: seconds from START, or from the order, to STOP; None: until the finite streams end, or for ever.
            drain_s: seconds that the end waits for what is in the pilots' spools.
            required: streams without which the run does not start.
            records_streams: the recorder takes them; else pilots do, and what they have is the account.
            standby: stand by until `record`, which says into which directory.
        """
        self.phase: Phase = "waiting"
        self._recorder = recorder
        self._streams = {pilot: tuple(streams) for pilot, streams in pilots.items()}
        self._members = {name: _Member() for name in (recorder, *self._streams)}
        self._start = start
        self._duration_s = duration_s
        self._deadline: float | None = None
        self._stands_by = standby
        self._is_armed = False
        """All pilots have told that they stand by."""
        self._order: StartOrder | None = None
        self._ordered_at = 0.0
        self._order_fields: dict[str, Any] = {}
        self._began: dict[str, Began] = {}
        self._states: dict[str, StreamState] = {}
        self._records_streams = records_streams
        self._account = RunAccount(self._streams, records_streams=records_streams)
        self._recorded_before = False
        self._forwarded_before: set[str] = set()
        self._gave_up_pilots = False
        self._required = tuple(required)
        self._missing_since = 0.0
        self._missing: dict[str, str] = {}
        self._told_missing: dict[str, str] = {}
        self._full: set[str] = set()
        """Streams of which the recorder's disk takes no more."""
        self._drain_s = drain_s
        self._drain_until: float | None = None
        """Until when the end waits for spools, once it does."""

    def on_handshake(self, who: Handshake, now: float) -> list[Effect]:
        """A member came up, or came back after a death."""
        member = self._members.get(who.id)
        if member is None or (member.here and member.boot == who.boot):
            return []
        again = member.boot != ""
        self._members[who.id] = _Member(boot=who.boot, here=True)
        if who.id == self._recorder:
            self._full.clear()  # another process tries again
        note = Note("back" if again else "here", {"name": who.id, "pid": who.pid})
        return [note, *self._advance(now)]

    def on_answer(self, sender: str, key: Key, value: Any, now: float) -> list[Effect]:
        """A member did what it was told."""
        member = self._members[sender]
        if member.asked != key:
            return []
        member.asked = None
        member.answered.add(key)
        if key == "STOP":
            self._take_account(sender, value)
        elif sender == self._recorder:
            self._recorded_before = True
        elif key == "START":
            self._forwarded_before.add(sender)
            states = msgspec.convert(value or {}, dict[str, StreamState])
            self._began |= {stream: state.began for stream, state in states.items() if state.began is not None}
        return self._advance(now)

    def on_failure(self, sender: str, key: Key, error: str, now: float) -> list[Effect]:
        """A member did not do what it was told: it is asked again, and whoever died is asked when it is back."""
        member = self._members[sender]
        if member.asked != key:
            return []
        member.asked, member.retry_at = None, now + RETRY_S
        return [Note("failed", {"name": sender, "key": key, "error": error})]

    def on_streams(self, states: Mapping[str, StreamState], now: float) -> list[Effect]:
        """A Pilot told how far its streams are."""
        self._states.update(states)
        self._account.note_pending({stream: state.pending for stream, state in states.items()})
        finite = [state for state in self._states.values() if state.finite]
        if self.phase == "running" and finite and all(state.finished for state in finite) and self._all_known():
            return self.stop("every finite source ended", now)
        return self._advance(now) if self.phase in ("waiting", "stopping") else []

    def on_disk(self, kind: str, stream: str, now: float, **fields: Any) -> list[Effect]:
        """The recorder's disk takes no more of a stream (`DISK_FAILED`), or does again (`DISK_BACK`)."""
        (self._full.add if kind == DISK_FAILED else self._full.discard)(stream)
        return [Note(kind, {"stream": stream, **fields}), *self._advance(now)]

    def on_death(self, name: str, **fields: Any) -> list[Effect]:
        """A process of the rig died."""
        self._account.deaths.append(name)
        member = self._members.get(name)
        if member is not None:
            member.here, member.asked = False, None
        return [Note("death", {"name": name, **fields})]

    def record(self, order: RecordOrder, stamp: OrderStamp, where: Mapping[str, str], now: float) -> list[Effect]:
        """Begin to record what stands by; see `cannot_record`.

        Args:
            order: how far back, how long.
            stamp: when it came, for the Pilots and the journal.
            where: `directory` of the recording, and its `name` below the output folder.
            now: when it came.
        """
        self.phase = "starting"
        self._order, self._ordered_at = StartOrder(order.from_s, stamp.monotonic_ns, stamp.clock), now
        self._order_fields = msgspec.to_builtins(order) | msgspec.to_builtins(stamp)
        self._duration_s = self._duration_s if order.duration_s is None else order.duration_s
        self._start = {**self._start, **where}
        self._account.deaths.clear()  # they explain nothing of what comes
        return self._advance(now)

    @property
    def cannot_record(self) -> str:
        """Why nothing can be ordered now; empty if it can."""
        if self.phase == "standby":
            return ""
        if self.phase == "waiting":
            missing = "; ".join(f"{name}: {why}" for name, why in self.missing.items())
            then = "" if self._stands_by else "; then it records by itself"
            return f"the rig is still coming up, it waits for {missing}{then}"
        over = self.phase in ("stopping", "done")
        return "the run is over" if over else f"the rig records already, into {self._start.get('directory')}"

    def stop(self, why: str, now: float) -> list[Effect]:
        """End the run: drain, close, balance; asked again, leave in the spools what is there."""
        if self.phase == "stopping" and self._drain_until is not None:
            self._drain_until = now
            return self._advance(now)
        if self.phase in ("stopping", "done"):
            return []
        if self.phase == "waiting":  # nothing was asked of anybody yet
            self.phase = "done"
            return [Note("stop", {"why": why}), Finished({})]
        self.phase = "stopping"
        self._deadline = now + STOP_S
        return [Note("stop", {"why": why}), *self._advance(now)]

    def on_tick(self, now: float) -> list[Effect]:
        """Look at the clock."""
        if self._deadline is None or now < self._deadline:
            return self._advance(now) + self._tell_missing(now)
        if self.phase == "running":
            return self.stop("the duration is over", now)
        if self._gave_up_pilots or self._pilots_answered("STOP"):
            return self._finish()
        self._gave_up_pilots, self._deadline = True, now + STOP_S
        silent = [pilot for pilot in self._streams if "STOP" not in self._members[pilot].answered]
        return [Note("silent", {"names": silent}), *self._advance(now)]

    @property
    def missing(self) -> dict[str, str]:
        """What START waits for, and why."""
        found = {name: "it has not come up" for name, member in self._members.items() if not member.here}
        for stream in self._required:
            state = self._states.get(stream)
            why = "its Pilot has not told of it" if state is None else state.missing
            if why and stream.partition(".")[0] not in found:
                found[stream] = why
        return found

    @property
    def is_recording(self) -> bool:
        """Whether there is a recording that is not closed yet."""
        return self._recorded_before and self.phase != "done"

    @property
    def streams(self) -> list[str]:
        """Every stream of the run."""
        return [stream for streams in self._streams.values() for stream in streams]

    def __repr__(self) -> str:
        here = sum(member.here for member in self._members.values())
        return f"<Conductor {self.phase}, {here} of {len(self._members)} members here>"

    def _advance(self, now: float) -> list[Effect]:
        """Tell each member what the phase asks of it and it has not answered yet."""
        if self.phase == "waiting" and not self.missing:
            self.phase = "standby" if self._stands_by else "starting"
        effects: list[Effect] = self._begin_draining(now)
        if self.phase == "standby" and not self._is_armed and self._pilots_answered("ARM"):
            self._is_armed = True
            effects.append(Note("standby", {"streams": self.streams, "rig": self._start.get("rig")}))
        if self.phase == "starting" and self._all_answered("START"):
            effects.append(self._begin_to_run(now))
        if self.phase == "stopping" and self._is_over():
            return self._finish()
        return effects + [send for name in self._members if (send := self._next_send(name, now)) is not None]

    def _begin_to_run(self, now: float) -> Note:
        self.phase = "running"
        began_at = now if self._order is None else self._ordered_at
        self._deadline = None if self._duration_s is None else began_at + self._duration_s
        told = {"streams": self.streams, "max_loss_s": self._start.get("max_loss_s")}
        if self._order is not None:
            told |= {"order": self._order_fields, "began": msgspec.to_builtins(self._began)}
        return Note("start", told)

    def _is_over(self) -> bool:
        """Whether nobody has anything left to answer that would be waited for."""
        if self._has_begun:
            return "STOP" in self._members[self._recorder].answered
        pilots = [self._members[pilot] for pilot in self._streams]
        return self._gave_up_pilots or all("STOP" in pilot.answered or not pilot.here for pilot in pilots)

    @property
    def _has_begun(self) -> bool:
        """Whether there is, or will be, a recording."""
        return self._order is not None or not self._stands_by

    def _tell_missing(self, now: float) -> list[Effect]:
        """Say what the run waits for, once it has for a while, and again when that has changed."""
        if self.phase != "waiting":
            return []
        missing = self.missing
        if missing != self._missing:
            self._missing, self._missing_since = missing, now
        patience = STREAMS_S if all(member.here for member in self._members.values()) else MEMBERS_S
        if now < self._missing_since + patience or missing == self._told_missing:
            return []
        self._told_missing = missing
        return [Note("waiting", {"missing": missing})]

    def _next_send(self, name: str, now: float) -> Send | None:
        member = self._members[name]
        key = self._wanted(name, member)
        if key is None or not member.here or member.asked is not None or now < member.retry_at:
            return None
        member.asked = key
        return Send(name, key, self._value(name, key, now))

    def _wanted(self, name: str, member: _Member) -> Key | None:
        if self.phase in ("waiting", "done"):
            return None
        key = self._wanted_of_recorder(member) if name == self._recorder else self._wanted_of_pilots()
        return None if key in member.answered else key

    def _wanted_of_recorder(self, member: _Member) -> Key | None:
        if not self._has_begun:
            return None
        if "START" not in member.answered and (self._recorded_before or self.phase != "stopping"):
            return "START"
        over = self.phase == "stopping" and (self._gave_up_pilots or self._pilots_answered("STOP"))
        return "STOP" if over and not self.is_draining else None

    def _wanted_of_pilots(self) -> Key | None:
        if self.phase == "stopping":
            return "STOP"
        if self.phase == "standby":
            return "ARM"
        is_recording = "START" in self._members[self._recorder].answered or self._recorded_before
        return "START" if is_recording else None

    @property
    def is_draining(self) -> bool:
        """Whether the end waits for the spools of pilots."""
        return self._drain_until is not None and bool(self._awaited)

    @property
    def pending(self) -> dict[str, int]:
        """Items in the pilots' spools, by stream."""
        return self._account.pending

    @property
    def _awaited(self) -> dict[str, int]:
        """Those of them that can come now."""
        return {stream: items for stream, items in self.pending.items() if stream not in self._full}

    def _begin_draining(self, now: float) -> list[Effect]:
        if self._drain_until is not None and now >= self._drain_until:
            self._drain_until, self._drain_s = None, 0.0
        is_over = self.phase == "stopping" and self._pilots_answered("STOP")
        if not is_over or not self._awaited or self._drain_until is not None or self._drain_s <= 0:
            return []
        self._drain_until = now + self._drain_s
        self._deadline = self._drain_until + STOP_S
        return [Note("pending", {"streams": self._awaited, "drain_s": self._drain_s})]

    def _value(self, name: str, key: Key, now: float) -> dict[str, Any]:
        if name != self._recorder:
            run, called = str(self._start.get("directory", "")), str(self._start.get("name", ""))
            value: dict[str, Any] = {"streams": list(self._streams[name]), "run": run, "recording": called}
            value["resume"] = name in self._forwarded_before
            if key == "START" and self._order is not None:
                order = msgspec.structs.replace(self._order, ago_s=now - self._ordered_at)
                value["order"] = msgspec.to_builtins(order)
            return value
        recorded = self._streams if self._records_streams else {}
        streams = [stream for streams in recorded.values() for stream in streams]
        if key == "START":
            pilots = {pilot: list(streams) for pilot, streams in recorded.items()}
            return {**self._start, "streams": streams, "pilots": pilots, "resume": self._recorded_before}
        return {"streams": streams, "timeout_s": STOP_S / 2, "kept": self._account.kept}

    def _pilots_answered(self, key: Key) -> bool:
        return all(key in self._members[pilot].answered for pilot in self._streams)

    def _all_answered(self, key: Key) -> bool:
        return self._pilots_answered(key) and key in self._members[self._recorder].answered

    def _all_known(self) -> bool:
        return set(self._states) >= set(self.streams)

    def _take_account(self, sender: str, value: Any) -> None:
        if sender == self._recorder:
            self._account.hear_recorder(value)
        else:
            self._account.hear_pilot(sender, value)

    def _finish(self) -> list[Effect]:
        self.phase = "done"
        self._deadline = None
        return self._account.balance(self._full) if self._has_begun else [Finished({})]
