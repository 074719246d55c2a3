"""Where the time of profiled steps went: every microsecond of them belongs to one room and one direction.

Forward, a room's label covers its operations and the Python between them. Backward, the autograd engine reports each
node under the sequence number of the operation that made it, and that operation's room is the node's room; what the
engine only accumulates belongs to the node before. A label inside the backward pass is a block computed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from torch.autograd.profiler_util import FunctionEvent

from camoe.model.rooms import LABEL

NODE = "autograd::engine::evaluate_function: "
STEP = "step"  # the label around a whole profiled step; what no other room claims stays with it


@dataclass
class RoomTime:
    """Seconds. `device`: of the accelerator's kernels that the room started; 0 on the CPU."""

    forward: float = 0.0
    recomputed: float = 0.0
    backward: float = 0.0
    device: float = 0.0

    @property
    def total(self) -> float:
        """All directions, by the clock of the CPU."""
        return self.forward + self.recomputed + self.backward

    def per_step(self, steps: int) -> RoomTime:
        """The mean of so many steps."""
        return RoomTime(self.forward / steps, self.recomputed / steps, self.backward / steps, self.device / steps)


@dataclass
class _Span:
    """An event that others may lie in: its thread, when it ends, whose it is, and in which direction."""

    thread: int
    end: float
    room: str
    direction: str


def room_times(events: Iterable[FunctionEvent]) -> dict[str, RoomTime]:
    """Total times by room of everything inside the labels of `events`; those outside of STEP are left out."""
    ordered = sorted((e for e in events if _ran_on_cpu(e)), key=lambda e: (e.thread, e.time_range.start, -_end(e)))
    makers = _rooms_of_nodes(ordered)
    times: dict[str, RoomTime] = defaultdict(RoomTime)
    open_spans: list[_Span] = []
    last_node = ""
    for event in ordered:
        while open_spans and (open_spans[-1].thread, open_spans[-1].end) < (event.thread, _end(event)):
            open_spans.pop()
        outer = open_spans[-1] if open_spans else None
        if event.name.startswith(NODE):
            last_node = makers.get(event.sequence_nr, last_node)
        span = _span(event, outer, last_node)
        if span is None:
            continue
        seconds = (_end(event) - event.time_range.start) * 1e-6
        _add(times[span.room], span.direction, seconds)
        times[span.room].device += event.self_device_time_total * 1e-6
        if outer is not None:
            _add(times[outer.room], outer.direction, -seconds)
        open_spans.append(span)
    return dict(times)


def _span(event: FunctionEvent, outer: _Span | None, node_room: str) -> _Span | None:
    """Whose the event is: its own label's, its node's, else that of what it lies in. None where nobody's."""
    if event.name.startswith(LABEL):
        inside_backward = outer is not None and outer.direction != "forward"
        direction, room = "recomputed" if inside_backward else "forward", event.name.removeprefix(LABEL)
    elif event.name.startswith(NODE):
        direction, room = "backward", node_room
    elif outer is not None:
        direction, room = outer.direction, outer.room
    else:
        return None
    return _Span(event.thread, _end(event), room, direction)


def _rooms_of_nodes(ordered: list[FunctionEvent]) -> dict[int, str]:
    """Room by sequence number. Several operations carry a number until one of them makes the node: the last one."""
    rooms: dict[int, str] = {}
    labels: list[tuple[int, float, str]] = []
    for event in ordered:
        while labels and labels[-1][:2] < (event.thread, _end(event)):
            labels.pop()
        if event.name.startswith(LABEL):
            labels.append((event.thread, _end(event), event.name.removeprefix(LABEL)))
        elif labels and event.sequence_nr >= 0 and not event.fwd_thread:
            rooms[event.sequence_nr] = labels[-1][2]
    return rooms


def _add(time: RoomTime, direction: str, seconds: float) -> None:
    setattr(time, direction, getattr(time, direction) + seconds)


def _end(event: FunctionEvent) -> float:
    return event.time_range.end


def _ran_on_cpu(event: FunctionEvent) -> bool:
    return event.device_type.name == "CPU" and not event.is_async
