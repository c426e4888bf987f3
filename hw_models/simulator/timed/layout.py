"""Where what is in the two flat arrays of a timed run: each begins with the places at which its parts begin."""

from __future__ import annotations

from typing import Final

PROGRAM_PARTS: Final = (
    "table_base",
    "key_from",
    "key_loop",
    "key_stride",
    "code",
    "loop_outer",
    "loop_row",
    "run_from",
    "run_class",
    "run_upto",
    "fork_pipe",
    "part_from",
    "part_thread",
    "part_late",
    "ring_row",
    "entry",
    "parent",
    "around_from",
    "around_hold",
    "within_from",
    "within_loop",
    "latest",
    "signal_from",
    "signal_task",
    "threads",
    "group_from",
    "port",
    "group_hold",
    "writes",
    "fetches",
    "hold_pipe",
    "copies",
    "outer_from",
    "outer_hold",
    "outer_mark",
    "source_from",
    "source_signal",
    "source_mark",
    "landed_from",
    "landed_hold",
    "again",
    "wait_from",
    "wait_kind",
    "wait_index",
    "wait_crosses",
    "wait_pipe",
    "wait_before",
    "task_thread",
    "wait_theirs",
    "wait_mine",
    "task_array",
    "task_fill",
    "task_loads",
    "task_unloads",
    "steps",
    "task_port_from",
    "around_late",
    "hold_table",
    "hold_memory",
    "room",
    "hold_task_from",
    "hold_task",
    "port_track",
    "fetch_port_from",
    "port_demand",
    "demand",
    "fetch_name",
    "latency",
    "write_port_from",
    "write_name",
    "task_stream",
    "task_depth",
    "task_drain",
    "task_point",
    "task_name",
    "task_pipe",
    "task_fork",
    "port_users",
    "doubled",
    "runs_from",
    "runs_table",
    "runs_tensor",
    "runs_base",
    "runs_size",
    "runs_write",
    "runs",
    "dram",
    "timed",
    "made_from",
    "made_pipe",
)
"""Parts of what a run reads."""
STATE_PARTS: Final = (
    "running",
    "state",
    "clock",
    "context",
    "stack",
    "pc",
    "stale",
    "marks",
    "forked",
    "pipes",
    "time",
    "join",
    "around",
    "out",
    "done",
    "done_at",
    "start",
    "left",
    "written",
    "left_at",
    "free",
    "entered",
    "written_at",
    "fetched",
    "cause",
    "fetched_at",
    "fetch_cause",
    "made_tag",
    "made_at",
    "follow",
    "array",
    "split",
    "visits",
    "used",
    "left_number",
    "served",
    "stalled",
    "busy",
    "watch",
    "cursor",
    "banks",
)
"""Parts of what a run changes."""
COUNTS: Final = ("width", "entries", "iteration", "n_holds", "n_marks", "room_left", "stopped", "length")
"""Numbers that stand in the state itself."""

TABLE_BASE: Final = 0
KEY_FROM: Final = 1
KEY_LOOP: Final = 2
KEY_STRIDE: Final = 3
CODE: Final = 4
LOOP_OUTER: Final = 5
LOOP_ROW: Final = 6
RUN_FROM: Final = 7
RUN_CLASS: Final = 8
RUN_UPTO: Final = 9
FORK_PIPE: Final = 10
PART_FROM: Final = 11
PART_THREAD: Final = 12
PART_LATE: Final = 13
RING_ROW: Final = 14
ENTRY: Final = 15
PARENT: Final = 16
AROUND_FROM: Final = 17
AROUND_HOLD: Final = 18
WITHIN_FROM: Final = 19
WITHIN_LOOP: Final = 20
LATEST: Final = 21
SIGNAL_FROM: Final = 22
SIGNAL_TASK: Final = 23
THREADS: Final = 24
GROUP_FROM: Final = 25
PORT: Final = 26
GROUP_HOLD: Final = 27
WRITES: Final = 28
FETCHES: Final = 29
HOLD_PIPE: Final = 30
COPIES: Final = 31
OUTER_FROM: Final = 32
OUTER_HOLD: Final = 33
OUTER_MARK: Final = 34
SOURCE_FROM: Final = 35
SOURCE_SIGNAL: Final = 36
SOURCE_MARK: Final = 37
LANDED_FROM: Final = 38
LANDED_HOLD: Final = 39
AGAIN: Final = 40
WAIT_FROM: Final = 41
WAIT_KIND: Final = 42
WAIT_INDEX: Final = 43
WAIT_CROSSES: Final = 44
WAIT_PIPE: Final = 45
WAIT_BEFORE: Final = 46
TASK_THREAD: Final = 47
WAIT_THEIRS: Final = 48
WAIT_MINE: Final = 49
TASK_ARRAY: Final = 50
TASK_FILL: Final = 51
TASK_LOADS: Final = 52
TASK_UNLOADS: Final = 53
STEPS: Final = 54
TASK_PORT_FROM: Final = 55
AROUND_LATE: Final = 56
HOLD_TABLE: Final = 57
HOLD_MEMORY: Final = 58
ROOM: Final = 59
HOLD_TASK_FROM: Final = 60
HOLD_TASK: Final = 61
PORT_TRACK: Final = 62
FETCH_PORT_FROM: Final = 63
PORT_DEMAND: Final = 64
DEMAND: Final = 65
FETCH_NAME: Final = 66
LATENCY: Final = 67
WRITE_PORT_FROM: Final = 68
WRITE_NAME: Final = 69
TASK_STREAM: Final = 70
TASK_DEPTH: Final = 71
TASK_DRAIN: Final = 72
TASK_POINT: Final = 73
TASK_NAME: Final = 74
TASK_PIPE: Final = 75
TASK_FORK: Final = 76
PORT_USERS: Final = 77
DOUBLED: Final = 78
RUNS_FROM: Final = 79
RUNS_TABLE: Final = 80
RUNS_TENSOR: Final = 81
RUNS_BASE: Final = 82
RUNS_SIZE: Final = 83
RUNS_WRITE: Final = 84
RUNS: Final = 85
DRAM: Final = 86
TIMED: Final = 87
MADE_FROM: Final = 88
MADE_PIPE: Final = 89
RUNNING: Final = 0
STATE: Final = 1
CLOCK: Final = 2
CONTEXT: Final = 3
STACK: Final = 4
PC: Final = 5
STALE: Final = 6
MARKS: Final = 7
FORKED: Final = 8
PIPES: Final = 9
TIME: Final = 10
JOIN: Final = 11
AROUND: Final = 12
OUT: Final = 13
DONE: Final = 14
DONE_AT: Final = 15
START: Final = 16
LEFT: Final = 17
WRITTEN: Final = 18
LEFT_AT: Final = 19
FREE: Final = 20
ENTERED: Final = 21
WRITTEN_AT: Final = 22
FETCHED: Final = 23
CAUSE: Final = 24
FETCHED_AT: Final = 25
FETCH_CAUSE: Final = 26
MADE_TAG: Final = 27
MADE_AT: Final = 28
FOLLOW: Final = 29
ARRAY: Final = 30
SPLIT: Final = 31
VISITS: Final = 32
USED: Final = 33
LEFT_NUMBER: Final = 34
SERVED: Final = 35
STALLED: Final = 36
BUSY: Final = 37
WATCH: Final = 38
CURSOR: Final = 39
BANKS: Final = 40
WIDTH: Final = 41
ENTRIES: Final = 42
ITERATION: Final = 43
N_HOLDS: Final = 44
N_MARKS: Final = 45
ROOM_LEFT: Final = 46
STOPPED: Final = 47
LENGTH: Final = 48
