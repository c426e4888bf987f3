"""A Dask cluster that evaluates batches: its scheduler's address is all that is needed.

The cluster is started with Dask's own tools, on a workstation, under Slurm or on Kubernetes, and must have the same
fusemax as this process. Workers may come and go: Dask gives the batches of one that is lost to others. Only this
process writes the dataset, so that workers need no shared disk.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from einsum_cascades.files import read_text
from fusemax.sweep.executors import Crew

CONNECT_S = 10.0

_IN_FLIGHT = 1024
_RESUME = "what is written stays good; run the same command again to go on"


@contextmanager
def cluster(address: str, warn: Callable[[str], None] = lambda _: None) -> Iterator[Crew]:
    """Use the cluster of a Dask scheduler.

    Args:
        address: such as ``tcp://10.0.0.1:8786``, or the path of a scheduler file (``.json``).
        warn: told if there are no workers yet.

    Raises:
        InputError: Dask is not installed, no scheduler answers, the cluster has another fusemax, or it is lost.
    """
    distributed = _distributed()
    lost = CancelledError, distributed.comm.CommClosedError, distributed.KilledWorker
    with _client(distributed, address) as client:
        try:
            if not client.nthreads():
                warn(f"the cluster at '{address}' has no workers yet: waiting for the first")
                client.wait_for_workers(1)
            _check_versions(client, address)
            executor = client.get_executor(pure=False)
            try:
                yield Crew(executor, sum(client.nthreads().values()), _IN_FLIGHT)
            finally:
                executor.shutdown(wait=False)
        except lost as error:
            said = str(error).splitlines()[0][:200] if str(error) else "the connection closed"
            raise InputError(f"the cluster at '{address}' was lost: {said}", hint=_RESUME) from error


def _distributed() -> Any:
    require("cluster", "--scheduler")
    import distributed
    import distributed.comm

    return distributed


def _client(distributed: Any, address: str) -> Any:
    """Connect to a scheduler that is known to answer: a client that cannot connect may wait for ever.

    Raises:
        InputError: there is none.
    """
    try:
        place = _address_in(Path(address)) if Path(address).suffix == ".json" else address
        with ThreadPoolExecutor(1) as aside:  # this thread may have an event loop that runs, as in a notebook
            kind = aside.submit(asyncio.run, _kind(distributed, place)).result()
        if kind != "Scheduler":
            raise ValueError(f"this is a {kind.lower()}")
        return distributed.Client(place, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else f"nothing within {CONNECT_S:g} s"
    gc.collect()  # ends a half-made client here: later, it could wait for a lock that Dask holds at that moment
    raise InputError(
        f"no Dask scheduler answers at '{address}': {said}",
        hint="give the address that 'dask scheduler' prints, such as tcp://127.0.0.1:8786",
    )


def _address_in(file: Path) -> str:
    """Return the address that a scheduler file holds."""
    found = json.loads(read_text(file))
    return str(found["address"])


async def _kind(distributed: Any, address: str) -> str:
    """Ask what listens at an address what it is."""
    if not address.strip():
        raise ValueError("there is no address")
    arguments = distributed.Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_S), distributed.rpc(address, connection_args=arguments) as remote:
        return str((await remote.identity())["type"])


def _check_versions(client: Any, address: str) -> None:
    """Raise unless scheduler and workers have this fusemax, and in the same form: what is sent names its modules."""

    def version() -> str:  # nested, so that it is sent as code: a machine without fusemax can run it
        import fusemax

        form = "a wheel" if fusemax.Cascade.__module__.startswith("fusemax.") else "a clone"
        return f"{fusemax.__version__} from {form}"

    ours = version()

    hosts = {f"worker {name}": said for name, said in client.run(version, on_error="return").items()}
    try:
        hosts["the scheduler"] = client.run_on_scheduler(version)
    except ImportError as error:
        hosts["the scheduler"] = error
    for host, said in hosts.items():
        if said != ours:
            has = f"fusemax {said}" if isinstance(said, str) else f"no fusemax ({said})"
            raise InputError(
                f"{host} of the cluster at '{address}' has {has}, this is {ours}",
                hint="install there what is installed here: the same wheel, or the same clone with 'pip install -e'",
            )
