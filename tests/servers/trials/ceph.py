"""Ceph's object gateway with one monitor and one memory-backed OSD: no systemd, no manager, no cephx."""

import shutil
import subprocess
import uuid
from pathlib import Path

from .servers import Server, end, free_port, spawn, wait_for

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")

CONF = """[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = {dir}
admin socket = {dir}/$name.asok
pid file = {dir}/$name.pid
log file = {dir}/$name.log
crash dir = {dir}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
mon allow pool size one = true
mon max pg per osd = 1000
osd crush chooseleaf type = 0
[mon]
mon data = {dir}/mon
[osd]
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
[client.rgw]
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw crypt require ssl = false
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def ceph(_cache: Path, work: Path) -> Server:
    """A fresh cluster of one."""
    home, log = work / "ceph", work / "ceph.log"
    for name in ("mon", "osd", "rgw"):
        (home / name).mkdir(parents=True)
    fsid, osd, v1, v2, port = str(uuid.uuid4()), str(uuid.uuid4()), free_port(), free_port(), free_port()
    conf = str(home / "ceph.conf")
    Path(conf).write_text(CONF.format(fsid=fsid, dir=home, v1=v1, v2=v2, port=port))
    server = Server("ceph", f"http://127.0.0.1:{port}", provider="ceph", checks_credentials=True)

    def run(*command: str):
        with log.open("ab") as output:
            subprocess.run(command, check=True, stdout=output, stderr=output, timeout=120)

    def start(*command: str) -> subprocess.Popen:
        server.processes.append(spawn([*command, "-f"], log))
        return server.processes[-1]

    try:
        address = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
        monmap = str(home / "monmap")
        run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", fsid, monmap)
        run("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap)
        start("ceph-mon", "-c", conf, "-i", "a")
        run("ceph", "-c", conf, "--connect-timeout", "60", "osd", "new", osd, "0")
        run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-c", conf, "-i", "0")
        gateway = start("radosgw", "-c", conf, "-n", "client.rgw")
        wait_for(server.endpoint, gateway, log)
        admin = ("radosgw-admin", "-c", conf, "-n", "client.rgw")
        keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
        run(*admin, "user", "create", "--uid=test", "--display-name=test", *keys)
    except BaseException:
        for process in reversed(server.processes):
            end(process)
        raise
    return server
