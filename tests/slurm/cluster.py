"""A small SLURM of this host's own for tests: Debian's real daemons, two pretended nodes, loopback addresses only.

Partition `main` is the default; jobs in `low` are preempted when `main` needs their CPUs: they get their own signal,
GRACE seconds later they are killed, and they go back into the queue. Without accounting, as on many small clusters.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil

from camoe.tracking.atomic_file import read_json, write_json
from camoe.tracking.process_identity import ProcessIdentity

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PREFIX = "camoe-slurm-"
NODES, CPUS = 2, 2
GRACE = 15  # seconds from the signal of a preemption to the kill
REQUEUE = 6  # seconds from a requeue to the new start, which is also how long a credential lasts
START = 30  # seconds that the daemons have to come up
ENDED = 10  # seconds that they have to end

CONFIGURATION = """\
ClusterName=camoe
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire={requeue}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
FirstJobId={first_job}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
KillWait=10
MinJobAge=3600
ReturnToService=2
MailProg=/bin/true
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=127.0.0.[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_node_port}-{last_node_port}] \
CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=low Nodes=ALL MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace} State=UP
"""


class ClusterError(RuntimeError):
    """Why there is no cluster."""


class Cluster:
    """The daemons in one folder, from `start` to `stop`; `environment` points SLURM's commands at them."""

    def __init__(self) -> None:
        remove_what_crashed_sessions_left()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # Unix sockets need a short path
        write_json(self.folder / "owner.json", asdict(ProcessIdentity.current()))
        self.environment = {**_without_slurm(os.environ), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Returns when both nodes take jobs; ClusterError says what went wrong."""
        for name in ("state", *(f"spool/127.0.0.{node}" for node in range(1, NODES + 1))):
            (self.folder / name).mkdir(parents=True)
        self._write_configuration()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        socket_file = self.folder / "munge.socket"
        self._daemon("munged", "--foreground", "--force", "--num-threads=2", f"--socket={socket_file}", *files)
        self._wait("munge's socket", socket_file.exists)
        self._daemon("slurmctld", "-D")
        for node in range(1, NODES + 1):
            self._daemon("slurmd", "-D", "-N", f"127.0.0.{node}")
        self._wait(
            "both nodes", lambda: self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle"] * NODES
        )

    def stop(self) -> None:
        """Ends its jobs and daemons, and removes its folder."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", "--full", "--signal=KILL", "--user", str(os.getuid()))
        end_processes_of(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> str:
        """Output of one of SLURM's commands; CalledProcessError when it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def ask(self, *command: str) -> str:
        """Output of a command, '' while it does not work yet."""
        with suppress(subprocess.SubprocessError):
            return self.run(*command)
        return ""

    def queue_state(self, job: str) -> str:
        """Such as RUNNING."""
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()

    def _write_configuration(self) -> None:
        port = _free_ports(NODES + 1)
        text = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            user=psutil.Process().username(),
            folder=self.folder,
            port=port,
            first_node_port=port + 1,
            last_node_port=port + NODES,
            first_job=int(time.time()) % 60_000_000 + 1,
            memory=psutil.virtual_memory().total // 2**20,
            nodes=NODES,
            cpus=CPUS,
            grace=GRACE,
            requeue=REQUEUE,
        )
        (self.folder / "slurm.conf").write_text(text)

    def _daemon(self, program: str, *arguments: str) -> None:
        """In the foreground of a session of its own, with our configuration and inside our folder."""
        with (self.folder / f"{program}.out").open("ab") as output:
            subprocess.Popen(
                [_path_of(program), *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START
        while not ready():
            if time.monotonic() > deadline:
                logs = [f"{log.name}: {log.read_text()[-1000:]}" for log in self.folder.glob("*.[lo][ou][gt]")]
                raise ClusterError(f"no {what} after {START} s\n" + "\n".join(logs))
            time.sleep(0.05)


def why_not() -> str | None:
    """Why no cluster can be had on this host, None when one can."""
    missing = [program for program in PROGRAMS if _path_of(program) is None]
    if missing:
        return f"{', '.join(missing)} not found; apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if socket.gethostbyname(socket.gethostname()) != "127.0.0.1":
        return "this host's name does not stand for 127.0.0.1, and SLURM would listen on all addresses"
    return None


def install() -> None:
    """Debian's packages, without starting their services' clusters; raises CalledProcessError."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True, timeout=300)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    subprocess.run(command, env=quiet, check=True, timeout=600)


def remove_what_crashed_sessions_left() -> None:
    """Ends clusters whose session is dead, and removes their folders."""
    for owner in Path("/tmp").glob(f"{PREFIX}*/owner.json"):
        if ProcessIdentity(**read_json(owner)).is_dead:
            end_processes_of(owner.parent)
            shutil.rmtree(owner.parent, ignore_errors=True)


def end_processes_of(folder: Path) -> None:
    """Ends every process that has the cluster's configuration: daemons, job steps and what runs in them."""
    ours = list(_processes_of(folder))
    for process in ours:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(ours, timeout=ENDED)
    for process in [*alive, *_processes_of(folder)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _processes_of(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            own = process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
            if own and process.pid != os.getpid():
                yield process


def _path_of(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _without_slurm(environment: os._Environ[str]) -> dict[str, str]:
    """Daemons take no settings from a job that the tests may run in."""
    foreign = ("SLURM", "SBATCH", "SRUN", "SUBMITIT")
    return {name: value for name, value in environment.items() if not name.startswith(foreign)}


def _free_ports(number: int) -> int:
    """The first of neighbouring TCP ports that nothing listens on, below those that the kernel gives out by itself."""
    for _ in range(200):
        first = 10_000 + secrets.randbelow(1000) * 10
        with suppress(OSError):
            for port in range(first, first + number):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise ClusterError("no free ports")
