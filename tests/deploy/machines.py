"""Clean machines: each is a Debian with systemd on a network that can be disconnected.

Namespaces replace the hardware, and an overlay over a debootstrap replaces the disk. Written files
stay on the disk when the power is cut.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.deploy import debian, hosts
from tests.deploy.hosts import Host
from tests.e2e.programs import ROOT
from tests.servers.process import ServerFailed, find, wait_until

BASE = ROOT / "build" / "machines" / "base"
#: Packages of a Debian installed from its image that a minimal debootstrap lacks.
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates"
#: Files of this machine for name resolution and certificates.
BORROWED = ("/etc/resolv.conf", "/etc/ssl/certs")
ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}
#: The mount points of control groups: version 2, or version 1.
GROUPS = [Path("/sys/fs/cgroup", name) for name in ("", "systemd", "unified")]
#: Creates a control group in the version of this machine, then runs the command.
_BOOT = """
disk=$1 name=$2
for groups in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$groups/cgroup.procs" ] || continue
    mkdir -p "$groups/$name"
    echo $$ > "$groups/$name/cgroup.procs"
done
exec unshare --mount --propagation=private --pid --uts --ipc --cgroup --fork --kill-child \\
    sh -euc "$3" sh "$disk" "$name"
"""
_INSIDE = """
disk=$1 name=$2
mount -t overlay -o "lowerdir=$disk/base,upperdir=$disk/upper,workdir=$disk/work" overlay \\
    "$disk/root"
old=$(stat -f -c %T /sys/fs/cgroup)
cd "$disk/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
if [ "$old" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
touch dev/console
mount --bind /dev/null dev/console
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname "$name"
mkdir -p old
pivot_root . old
umount -l old
exec env -i container=unshare /lib/systemd/systemd --show-status=no --log-target=null
"""


def _removed(group: Path) -> bool:
    """Whether a group and its subgroups are removed; one with a process cannot be removed yet."""
    if not group.exists():
        return True
    inner = [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]
    try:
        for each in inner:
            each.rmdir()
    except OSError:
        return False
    return True


def possible() -> bool:
    """Whether this machine allows clean machines."""
    try:
        find("debootstrap")
    except ServerFailed:
        return False
    return hosts.possible()


def prepare() -> None:
    """A bare Debian in build/machines, created once. Needs the network."""
    debian.make(BASE, PACKAGES)


class Machine:
    """A machine on the network of `hosts` with its disk in `folder`."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.address = host.address
        self._disk = folder / host.namespace
        for name in ("base", "upper", "work", "root"):
            (self._disk / name).mkdir(parents=True)
        (self._disk / "base").rmdir()
        (self._disk / "base").symlink_to(BASE)
        self._process: subprocess.Popen[bytes] | None = None
        for place in map(Path, BORROWED):
            there = self._disk / "upper" / place.relative_to("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-rL", place, there], check=True)
        (self._disk / "upper/etc/hostname").write_text(f"{host.namespace}\n")
        # There is no console.
        masked = self._disk / "upper/etc/systemd/system/console-getty.service"
        masked.parent.mkdir(parents=True)
        masked.symlink_to("/dev/null")

    @property
    def files(self) -> Path:
        """The root directory of the running machine."""
        return Path(f"/proc/{self._init()}/root")

    def power_on(self) -> None:
        """Start the machine; systemd is running when this returns."""
        name = self.host.namespace
        self._process = subprocess.Popen(
            [
                # Not `ip netns exec`: it hides the control groups.
                *("nsenter", f"--net=/run/netns/{name}", "setpriv", "--pdeathsig", "KILL"),
                *("sh", "-euc", _BOOT, "sh", str(self._disk), name, _INSIDE),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: self._state() in ("running", "degraded"))

    def cut_power(self) -> None:
        """Kill all processes at once; the files on the disk stay."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        for groups in GROUPS:
            with suppress(TimeoutError):
                wait_until(lambda groups=groups: _removed(groups / self.host.namespace), 10)

    def run(self, script: str, *, said: str = "", network: bool = True) -> str:
        """Run this in a shell as root with `said` as input; returns the output.

        With `network=False` the command uses the network of this machine, not the private one,
        which reaches only the neighbours.

        Raises:
            CalledProcessError: it failed; its output goes to stderr.
        """
        done = subprocess.run(
            self._enter("sh", "-euc", script, network=network),
            input=said,
            capture_output=True,
            text=True,
            check=False,
            env=ENV,
        )
        if done.returncode:
            raise AssertionError(f"{script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _enter(self, *words: str, network: bool = True) -> list[str]:
        inside = ["nsenter", f"--target={self._init()}", "--mount", "--uts", "--ipc", "--pid"]
        inside += [f"--net=/run/netns/{self.host.namespace}"] * network
        return [*inside, "env", "-C", "/root", *words]

    def _init(self) -> int:
        assert self._process is not None
        pid, children = self._process.pid, ""
        # setpriv, sh and unshare are one process; its child is systemd.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return int(children.split()[0])

    def _state(self) -> str:
        try:
            words = self._enter("systemctl", "is-system-running")
        except (FileNotFoundError, IndexError):
            return ""
        return subprocess.run(
            words, env=ENV, capture_output=True, text=True, check=False
        ).stdout.strip()
