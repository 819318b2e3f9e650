"""A private Slurm on one machine, in a temporary folder, independent of system services."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
DAEMON_FOLDERS = "/usr/sbin:/sbin"  # not in every PATH
TIMEOUT = 300  # seconds
CPUS = 2
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A Slurm cluster of one node, which is also the controller."""

    def __init__(self, folder):
        self.folder, self.host = folder, socket.gethostname().split(".")[0]

    @property
    def environment(self):
        """The environment of this process with the settings of the tests' Slurm."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        path = os.pathsep.join((inherited["PATH"], DAEMON_FOLDERS))
        return {**inherited, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command, **options):
        """Run a program of Slurm and return its output."""
        finished = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False, **options
        )
        assert finished.returncode == 0, f"{command}: {finished.stderr}"
        return finished.stdout

    def is_up(self):
        """Return whether the controller answers and the node is idle."""
        command = ("sinfo", "--noheader", "--format=%t")
        finished = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return finished.returncode == 0 and "idle" in finished.stdout

    def submit(self, *arguments, cwd):
        """Submit a script and return the number of its job."""
        return self.call("sbatch", "--parsable", *map(str, arguments), cwd=cwd).strip().split(";")[0]

    def states(self, job):
        """State and number of restarts of every task of an array, by its task number."""
        text = self.call("scontrol", "--oneliner", "show", "job", job)
        tasks = (dict(field.split("=", 1) for field in line.split() if "=" in field) for line in text.splitlines())
        return {t["ArrayTaskId"]: (t["JobState"], int(t["Restarts"])) for t in tasks if "ArrayTaskId" in t}

    def until(self, condition):
        """Poll a condition until it is true, and return its value."""
        end = time.monotonic() + TIMEOUT
        while not (value := condition()):
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)
        return value

    def logs(self):
        """The last lines of the daemons' logs."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))


def free_ports(count):
    """Numbers of unused ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for unused_socket in sockets:
            unused_socket.bind(("127.0.0.1", 0))
        return [unused_socket.getsockname()[1] for unused_socket in sockets]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A running cluster; skip if Slurm is not installed or cannot be started."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:{DAEMON_FOLDERS}")]
    if missing:
        pytest.skip(
            f"Slurm is not installed here ({missing[0]} is missing); docs/cluster.md explains how to install it"
        )
    if os.geteuid() != 0:
        pytest.skip("slurmd must run as root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    running, (controller, node) = Cluster(folder), free_ports(2)
    settings = {"host": running.host, "folder": folder, "user": getpass.getuser(), "cpus": CPUS}
    Path(folder / "slurm.conf").write_text(CONFIG.format(controller=controller, node=node, **settings))
    munged = (
        *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
        *(f"--log-file={folder}/munged.log", f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"),
    )
    with contextlib.ExitStack() as stack:
        for command in (munged, ("slurmctld", "-D", "-c"), ("slurmd", "-D", "-N", running.host)):
            log = stack.enter_context((folder / f"{command[0]}.out.log").open("wb"))
            process = subprocess.Popen(command, env=running.environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if command[0] == "munged":
                running.until((folder / "munge.socket").exists)
        running.until(running.is_up)
        yield running
