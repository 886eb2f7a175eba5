"""The steps of the Containerfile, word for word, in a copy of this machine's root that is gone afterwards.

There is no network: packages of Debian are here already, and those of Python are the ones that run the tests.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import free_port
from tests.test_container import ROOT, STEPS, arguments

PACKAGES = re.findall(r"--no-install-recommends ([^&]*)", " ".join(arguments("RUN")))[0].split()
FRESH = "/opt/python"  # an environment of its own, as the image's Python is
ENVIRONMENT = {
    "PATH": f"{FRESH}/bin:{os.defpath}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/home/veil",
    "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_ROOT_USER_ACTION": "ignore",
}  # fmt: skip
BEGIN = f"""set -e
mount -t tmpfs tmpfs . && cd "$PWD"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount --rbind /proc proc
mount --rbind /dev dev
rm -rf etc/apt/sources.list etc/apt/sources.list.d
chroot . {sys.executable} -m venv --without-pip {FRESH}
echo {sysconfig.get_path("purelib")} > "$(echo .{FRESH}/lib/python3*/site-packages)"/needed.pth
"""


def may_be_read(path: Path) -> str:
    """Return what lets an account without rights reach a file of the copy: here it may belong to root alone."""
    return "chmod a+rx " + " ".join(shlex.quote(f".{each}") for each in path.resolve().parents)


def as_shell() -> Iterator[str]:
    """Yield what each step that changes the image does, in the root that is the present folder."""
    folder = "/"
    for name, text in STEPS:
        if name == "WORKDIR":
            folder = text
            yield f"mkdir -p .{folder}"
        elif name == "COPY":
            *sources, to = shlex.split(text)
            yield f"cp -r {' '.join(str(ROOT / each) for each in sources)} .{folder}/{to if to == './' else ''}"
        elif name == "RUN":
            yield f"chroot . /bin/sh -c {shlex.quote(f'cd {folder} && {text}')}"


def has_packages() -> bool:
    return not subprocess.run(["dpkg", "-s", *PACKAGES], capture_output=True, check=False).returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.skipif(not has_packages(), reason=f"needs what the image installs (Debian: {' '.join(PACKAGES)})")
def test_each_step_runs_and_veil_serves_as_an_account_without_rights(tmp_path: Path):
    port = free_port()
    (user,) = arguments("USER")
    serve = f"cd /data && veil --version && exec veil serve --port {port}"
    run = f"exec chroot --userspec={user}:{user} . /bin/sh -c {shlex.quote(serve)}"
    reached = [may_be_read(Path(each)) for each in (sys.executable, sysconfig.get_path("purelib") + "/.")]
    script = BEGIN + "\n".join([*reached, *as_shell(), run])
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=pipe, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        try:
            page = answer_of(f"http://127.0.0.1:{port}/", process)
            owner = Path(f"/proc/{process.pid}").stat().st_uid if page else None
        finally:
            process.terminate()
            said = process.stdout.read().decode()
    assert b"<title>" in page, said
    assert owner == 10001
    assert "veil " in said


def answer_of(url: str, process: subprocess.Popen[bytes]) -> bytes:
    """Return what a server answers as soon as it does; nothing if it ends before."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(URLError), urlopen(url) as answer:
            return bytes(answer.read())
        time.sleep(0.1)
    return b""
