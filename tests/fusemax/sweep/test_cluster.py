"""A real Dask scheduler and real workers, started by the test: the same rows, also when a worker is killed."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from small_sweep import SmallSweep, environment, evaluate, expected
from typer.testing import CliRunner

import fusemax
from einsum_cascades.errors import InputError
from fusemax.cli import app
from fusemax.sweep import open_store, run
from fusemax.sweep.runner import Watcher

pytest.importorskip("distributed")


class Cluster:
    """A scheduler and its workers, each a process of its own.

    Args:
        folder: for their logs.
        protocol: ``tcp`` or ``tls``.
        settings: added to the environment of each.
    """

    def __init__(self, folder: Path, protocol: str = "tcp", settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = {**environment(), **(settings or {})}
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[str]] = []
        where = "--protocol", protocol, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", self.file
        self.scheduler = self.start("scheduler", *where)
        wait_for(self.file.exists)
        wait_for(lambda: self.file.read_text().rstrip().endswith("}"))
        self.address = re.findall(rf"{protocol}://[\d.]+:\d+", self.file.read_text())[0]

    def start(self, what: str, *arguments: object) -> subprocess.Popen[str]:
        log = (self.folder / f"{what}-{len(self.processes)}.log").open("w")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + what, "--no-dashboard", *map(str, arguments)],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[str]:
        """Start a worker with one thread that nobody restarts."""
        log = self.folder / f"worker-{len(self.processes)}.log"
        process = self.start("worker", self.address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")
        wait_for(lambda: "Registered to" in log.read_text())
        return process

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def wait_for(true: Callable[[], object], seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.stop()


class AfterPoints(Watcher):
    """Does something once, when so many points are done."""

    def __init__(self, points: int, action: Callable[[], object]) -> None:
        self.points, self.action = points, action
        self.warnings: list[str] = []

    def advanced(self, points: int) -> None:
        if self.points > 0 >= self.points - points:
            self.action()
        self.points -= points

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.slow
def test_same_rows_though_a_worker_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    sweep = SmallSweep(4000, point_s=5e-4)
    workers = [cluster.worker(), cluster.worker()]
    killing = AfterPoints(1000, workers[0].kill)
    outcome = run(
        sweep, tmp_path / "out", scheduler=cluster.address, batch_points=50, evaluate=evaluate, watcher=killing
    )
    assert workers[0].wait(10) == -9
    assert workers[1].poll() is None
    assert outcome.store.table() == expected(sweep)
    assert (outcome.computed, killing.warnings) == (4000, [])
    run(sweep, tmp_path / "here", workers=1, batch_points=50, evaluate=evaluate)
    for path in (tmp_path / "here" / "points").iterdir():
        assert (tmp_path / "out" / "points" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_command_gives_the_same_parts_on_a_cluster_as_here(cluster: Cluster, tmp_path: Path) -> None:
    spec = tmp_path / "space.yaml"
    spec.write_text(
        "axes: {cascade: attention-3-pass, arch: flat-cloud, mapper: [unfused, flat], model: BERT, "
        "seq_len: [1024, 4096], array_2d.rows: {range: [64, 256, 64]}}"
    )
    cluster.worker()
    for folder, *where in (("there", "--scheduler", cluster.address), ("here", "--workers", "1")):
        result = CliRunner().invoke(app, ["sweep", str(spec), "--out", str(tmp_path / folder), *where])
        assert result.exit_code == 0, result.output
    parts = [sorted((tmp_path / folder / "points").iterdir()) for folder in ("there", "here")]
    assert [path.read_bytes() for path in parts[0]] == [path.read_bytes() for path in parts[1]]


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """The settings of a cluster whose members show one certificate to each other, as the README gives them."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=fusemax"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    settings = {"CA_FILE": cert}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{role}__CERT": cert, f"{role}__KEY": key}
    found = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in settings.items()}
    return {**found, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}


@pytest.mark.slow
def test_a_cluster_with_tls_takes_those_who_have_its_certificate(certificate: dict[str, str], tmp_path: Path) -> None:
    spec = tmp_path / "space.yaml"
    spec.write_text("axes: {cascade: attention-1-pass, arch: fusemax-cloud, mapper: unfused, model: BERT, seq_len: 64}")
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster", "tls", certificate)
    try:
        cluster.worker()
        command = [sys.executable, "-m", "fusemax", "sweep", str(spec), "--scheduler", cluster.address, "--out"]
        for settings, status in ((certificate, 0), ({}, 2)):
            done = subprocess.run(
                [*command, str(tmp_path / f"out{status}")],
                env={**environment(), **settings},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == status, done.stderr
        assert "no Dask scheduler answers at 'tls://" in done.stderr
        assert open_store(tmp_path / "out0").points_done == 1
    finally:
        cluster.stop()


@pytest.mark.slow
def test_waits_for_workers_and_takes_a_scheduler_file(cluster: Cluster, tmp_path: Path) -> None:
    class Hiring(Watcher):
        warnings: tuple[str, ...] = ()

        def warned(self, text: str) -> None:
            self.warnings += (text,)
            cluster.worker()

    hiring = Hiring()
    outcome = run(SmallSweep(500), tmp_path / "out", scheduler=str(cluster.file), evaluate=evaluate, watcher=hiring)
    assert outcome.store.table() == expected(SmallSweep(500))
    assert len(hiring.warnings) == 1
    assert "has no workers yet" in hiring.warnings[0]


@pytest.mark.slow
def test_lost_scheduler_is_a_clear_error_and_the_run_resumes(cluster: Cluster, tmp_path: Path) -> None:
    sweep = SmallSweep(4000, point_s=5e-4)
    cluster.worker()
    killing = AfterPoints(500, cluster.scheduler.kill)
    with pytest.raises(InputError, match="was lost") as raised:
        run(sweep, tmp_path / "out", scheduler=cluster.address, batch_points=50, evaluate=evaluate, watcher=killing)
    assert "run the same command again" in str(raised.value)
    assert 0 < open_store(tmp_path / "out").points_done < 4000
    outcome = run(sweep, tmp_path / "out", workers=1, evaluate=evaluate)
    assert outcome.store.table() == expected(sweep)


@pytest.mark.slow
def test_other_version_on_the_cluster_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = cluster.worker()
    monkeypatch.setattr(fusemax, "__version__", "99.0")
    with pytest.raises(InputError, match=r"has fusemax .*, this is 99\.0"):
        run(SmallSweep(500), tmp_path / "out", scheduler=cluster.address, evaluate=evaluate)
    assert worker.poll() is None


@pytest.mark.slow
def test_address_of_a_worker_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.worker()
    log = next(cluster.folder.glob("worker-*.log")).read_text()
    address = re.findall(r"Start worker at:\s*(tcp://[\d.]+:\d+)", log)[0]
    with pytest.raises(InputError, match="this is a worker"):
        run(SmallSweep(500), tmp_path / "out", scheduler=address, evaluate=evaluate)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "http://127.0.0.1:1", "no-such.json", ""])
def test_wrong_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("fusemax.sweep.cluster.CONNECT_S", 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        run(SmallSweep(500), tmp_path / "out", scheduler=address, evaluate=evaluate)


def test_what_listens_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusemax.sweep.cluster.CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(3):
            with pytest.raises(InputError, match=r"no Dask scheduler answers at .*: nothing within 0\.5 s"):
                run(SmallSweep(500), tmp_path / "out", scheduler=address, evaluate=evaluate)


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install .*\[cluster\]'"):
        run(SmallSweep(500), tmp_path / "out", scheduler="tcp://127.0.0.1:1", evaluate=evaluate)
