"""A Slurm of our own on one machine, in a temporary folder: no system service is touched, none is needed."""

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
SYSTEM = "/usr/sbin:/sbin"  # where daemons are, which not every PATH names
PATIENCE = 300  # seconds
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
    """One node that is also the controller."""

    def __init__(self, folder):
        self.folder, self.host = folder, socket.gethostname().split(".")[0]

    @property
    def environment(self):
        """Ours, with this Slurm instead of any other."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**ours, "PATH": os.pathsep.join((ours["PATH"], SYSTEM)), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *words, **options):
        """Run one of Slurm's programs and return what it prints."""
        finished = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=60, check=False, **options
        )
        assert finished.returncode == 0, f"{words}: {finished.stderr}"
        return finished.stdout

    def is_up(self):
        """Tell whether the controller answers and the node waits for work."""
        words = ("sinfo", "--noheader", "--format=%t")
        finished = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return finished.returncode == 0 and "idle" in finished.stdout

    def submit(self, *words, cwd):
        """Submit a script; its number."""
        return self.call("sbatch", "--parsable", *map(str, words), cwd=cwd).strip().split(";")[0]

    def states(self, job):
        """State and restarts of every task of an array, by its number, finished or not."""
        text = self.call("scontrol", "--oneliner", "show", "job", job)
        found = (dict(word.split("=", 1) for word in line.split() if "=" in word) for line in text.splitlines())
        return {one["ArrayTaskId"]: (one["JobState"], int(one["Restarts"])) for one in found if "ArrayTaskId" in one}

    def until(self, is_so):
        """Wait for something to become true; Slurm tells nobody by itself."""
        end = time.monotonic() + PATIENCE
        while not (found := is_so()):
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)
        return found

    def logs(self):
        """The end of what the daemons said."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))


def free_ports(count):
    """Ports that nobody listens to."""
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in listening:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in listening]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Slurm, or a skip where there is none."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM}")]
    if missing:
        pytest.skip(f"Slurm is not installed here (no {missing[0]}); docs/cluster.md says how to get it")
    if os.geteuid() != 0:
        pytest.skip("slurmd wants to be root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    found, (controller, node) = Cluster(folder), free_ports(2)
    names = {"host": found.host, "folder": folder, "user": getpass.getuser(), "cpus": CPUS}
    Path(folder / "slurm.conf").write_text(CONFIG.format(controller=controller, node=node, **names))
    daemons = (
        *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
        *(f"--log-file={folder}/munged.log", f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"),
    )
    with contextlib.ExitStack() as stack:
        for words in (daemons, ("slurmctld", "-D", "-c"), ("slurmd", "-D", "-N", found.host)):
            log = stack.enter_context((folder / f"{words[0]}.out.log").open("wb"))
            process = subprocess.Popen(words, env=found.environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if words[0] == "munged":
                found.until((folder / "munge.socket").exists)
        found.until(found.is_up)
        yield found
