"""A sweep run into a store by any executor: processes of this machine, a Dask cluster, or the caller's own.

An executor evaluates batches of points and returns each as the bytes of its part; this process alone writes. A batch
counts as done when its part is on disk, so that to go on after an interruption is to run what has no part yet.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import fusemax
from einsum_cascades.errors import InputError, check_type
from einsum_cascades.extras import require
from einsum_cascades.numbers import whole
from fusemax.sweep.cluster import cluster
from fusemax.sweep.estimate import probes, seconds_per_point
from fusemax.sweep.executors import Crew, crew, hand_over, processes
from fusemax.sweep.parts import Batch, Evaluate, Header, Sweep, encode
from fusemax.sweep.store import Store
from fusemax.sweep.writer import OnChange, Writer, check_on_change, writing

MOST_WORKERS: Final = 4096
_LOST_IN_VAIN = 3


@dataclass(frozen=True)
class Plan:
    """What is known before the work.

    Attributes:
        points: number of points of the sweep, before filters.
        done: of these, in the store already.
        workers: evaluate at the same time.
        estimate_s: time that the rest is likely to take, from a few points timed by a worker.
    """

    points: int
    done: int
    workers: int
    estimate_s: float


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        store: the finished dataset.
        plan: what was known before; none if all was done already.
        recomputed: files that were found damaged, set aside and made anew.
        computed: number of points that this run evaluated.
        elapsed_s: how long it took.
    """

    store: Store
    plan: Plan | None
    recomputed: tuple[Path, ...]
    computed: int
    elapsed_s: float


class Watcher:
    """Is told what happens during a run; override what is of interest."""

    def planned(self, plan: Plan) -> None:
        """Hear the plan, before the work."""

    def advanced(self, points: int) -> None:
        """Hear that so many more points are in the store."""

    def warned(self, text: str) -> None:
        """Hear of something found damaged or lost, which the run makes good."""
        warnings.warn(text, stacklevel=2)


def run(
    spec: Path | str | Sweep,
    out: Path | str,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    batch_points: int | None = None,
    on_change: OnChange = "refuse",
    evaluate: Evaluate | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Evaluate all points of a sweep that a folder does not hold yet.

    Worker processes import the program that starts them: in a script, call this under
    ``if __name__ == "__main__":``.

    Args:
        spec: the spec's file, the name of a study that comes with the package, or a sweep.
        out: the folder.
        workers: number of processes, or of ``executor``'s workers; the number of cores if not given.
        scheduler: address of a Dask scheduler, whose workers are used instead of processes.
        executor: used instead of processes; it is not shut down.
        batch_points: points to a batch, fixed when the folder is made; chosen by the number of points if not given.
        on_change: what to do if the folder holds another sweep: ``refuse``, or ``restart``, which discards it.
        evaluate: returns the rows of some points; ``fusemax.sweep.evaluate.evaluate_points`` if not given.
        watcher: told the plan and the progress; warnings are Python's if not given.

    Raises:
        InputError: the spec or the folder is unusable, the disk is full, the workers are lost, or the extra ``sweep``
            is not installed. What was written stays good, and the same call goes on from there.
    """
    require("sweep", "a sweep")
    begin = time.perf_counter()
    check_on_change(on_change)
    count = usable_cores() if workers is None else whole("workers", workers, maximum=MOST_WORKERS)
    watcher = watcher or Watcher()
    sweep = _read(spec) if isinstance(spec, str | Path) else spec
    check_type("the sweep", sweep, Sweep, "the path of a spec, the name of a study or a Sweep is expected")
    if evaluate is None:
        from fusemax.sweep.evaluate import evaluate_points

        evaluate = evaluate_points
    plan: Plan | None = None
    with writing(sweep, Path(out), batch_points=batch_points, on_change=on_change, warn=watcher.warned) as writer:
        in_vain, todo = 0, writer.points_left
        while before := writer.points_left:
            try:
                batches = -(-before // writer.store.header.batch_points)
                with _crew(min(count, batches), scheduler, executor, watcher) as hands:
                    if plan is None:
                        plan = _plan(sweep, writer, hands, evaluate)
                        watcher.planned(plan)
                    run_sweep(
                        sweep, writer, hands.executor, evaluate=evaluate, in_flight=hands.in_flight, watcher=watcher
                    )
            except BrokenExecutor as error:
                in_vain = in_vain + 1 if writer.points_left == before else 0
                if executor is not None or in_vain == _LOST_IN_VAIN:
                    raise _lost(writer) from error
                watcher.warned("a worker process ended unexpectedly; its batches are given to new ones")
        return Outcome(writer.store, plan, writer.recomputed, todo, time.perf_counter() - begin)


def run_sweep(
    sweep: Sweep,
    writer: Writer,
    executor: Executor,
    *,
    evaluate: Evaluate,
    in_flight: int = 8,
    watcher: Watcher | None = None,
) -> None:
    """Evaluate the batches that a store lacks, and write each as it comes.

    Args:
        sweep: what is evaluated.
        writer: the store, held by this process.
        executor: evaluates them; any of ``concurrent.futures``' kind.
        evaluate: returns the rows of some points; it must be known by name to the executor's workers.
        in_flight: batches handed to the executor before the first is written, which bounds the memory.
        watcher: told the progress.

    Raises:
        InputError: the disk is full or cannot be written, or a worker has another fusemax.
        BrokenExecutor: the executor lost a worker and is of no more use.
    """
    todo = writer.left()
    pending: dict[Future[bytes], Batch] = {}
    done: SimpleQueue[Future[bytes]] = SimpleQueue()
    try:
        while True:
            for batch in itertools.islice(todo, in_flight - len(pending)):
                pending[hand_over(executor, done.put, _work, evaluate, sweep, batch, writer.store.header)] = batch
            if not pending:
                return
            _write(done.get(), pending, writer, watcher)
    except BaseException:
        if not isinstance(executor, ProcessPoolExecutor):  # one that breaks stumbles over what is cancelled
            for future in pending:
                future.cancel()
        raise


def _write(future: Future[bytes], pending: dict[Future[bytes], Batch], writer: Writer, watcher: Watcher | None) -> None:
    """Write a batch that is done; what is written is held no longer."""
    batch = pending.pop(future)
    writer.write(batch, future.result())
    if watcher:
        watcher.advanced(len(batch))


def _read(spec: Path | str) -> Sweep:
    from fusemax.studies import study_path
    from fusemax.sweep.spec import read_sweep

    found: Sweep = read_sweep(study_path(spec))
    return found


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work(evaluate: Evaluate, sweep: Sweep, batch: Batch, header: Header) -> bytes:
    """Evaluate a batch, in a worker, and return its part."""
    if fusemax.__version__ != header.version:
        raise InputError(
            f"the worker on {socket.gethostname()} has fusemax {fusemax.__version__}, the sweep {header.version}",
            hint="install there what is installed here: the same wheel, or the same clone with 'pip install -e'",
        )
    try:
        table = evaluate(sweep, batch.start, batch.stop)
    except Exception as error:
        error.add_note(f"while evaluating the points {batch.start} to {batch.stop - 1}")
        raise
    return encode(table.cast(sweep.schema), batch, header)


def _time_points(evaluate: Evaluate, sweep: Sweep, batches: Sequence[Batch], header: Header) -> float:
    """Return the seconds that a point takes in this worker."""
    return seconds_per_point(lambda batch: _work(evaluate, sweep, batch, header), batches)


def _plan(sweep: Sweep, writer: Writer, hands: Crew, evaluate: Evaluate) -> Plan:
    header, left = writer.store.header, writer.points_left
    batches = probes(header, writer.store.done)
    done: SimpleQueue[Future[float]] = SimpleQueue()
    hand_over(hands.executor, done.put, _time_points, evaluate, sweep, batches, header)
    per_point = done.get().result()
    return Plan(header.points, header.points - left, hands.workers, per_point * left / hands.workers)


@contextmanager
def _crew(workers: int, scheduler: str | None, executor: Executor | None, watcher: Watcher) -> Iterator[Crew]:
    if executor is not None:
        yield crew(executor, workers)
    elif scheduler is not None:
        with cluster(scheduler, watcher.warned) as hands:
            yield hands
    else:
        with processes(workers) as hands:
            yield hands


def _lost(writer: Writer) -> InputError:
    there, first = writer.store.points_done, next(writer.left())
    hint = f"{there:,} of {writer.store.header.points:,} points are there and stay good, the first missing is "
    hint += f"{first.start:,}; "
    if there:
        hint += "run the same command again to go on, with fewer workers if memory is short"
    else:
        hint += "a script must call this under: if __name__ == '__main__'"
    return InputError("the workers end before they have done a batch", hint=hint)
