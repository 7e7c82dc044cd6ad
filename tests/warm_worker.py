"""Runs jobs of a jobflow-remote worker in forks of one process that has everything loaded.

``jf execution run`` starts Python for every job, seconds of imports each. A worker with the
``execution_cmd`` of this module hands its folders to a process that forks for each: the runner, its
worker's shell and the files are the real ones.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCALHOST = "127.0.0.1"
CLIENT = 'exec 3<>"/dev/tcp/127.0.0.1/$1"\necho "$2" >&3\ncat <&3\n'
"""Sends a folder, and waits until its job has run."""


@contextmanager
def warm_worker(folder: Path) -> Iterator[str]:
    """Yield the ``execution_cmd`` of a worker; the process behind it ends with the context."""
    port_file, client = folder / "port", folder / "client.sh"
    client.write_text(CLIENT)
    with (folder / "warm_worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, __file__, port_file], stdout=log, stderr=log)
    try:
        while not port_file.exists():
            if process.poll() is not None:
                raise RuntimeError((folder / "warm_worker.log").read_text())
            time.sleep(0.1)
        yield f"bash {client} {port_file.read_text()} {{}}"
    finally:
        process.kill()
        process.wait()


def serve(port_file: Path) -> None:
    """Fork for every connection, and run the job of the folder that it names."""
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here / "flows"), str(here / "campaign")]
    import engine_jobs  # noqa: F401
    from dying import mortal
    from jobflow_remote.jobs.run import run_remote_job

    import atomate2_alpot.label.jobs
    import atomate2_alpot.potentials
    import atomate2_alpot.select.jobs
    import atomate2_alpot.validate.jobs  # noqa: F401

    mortal(port_file.parent)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    server = socket.create_server((LOCALHOST, 0))
    written = port_file.with_suffix(".part")
    written.write_text(str(server.getsockname()[1]))
    written.rename(port_file)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run_remote_job(connection.makefile().readline().strip())
            connection.shutdown(socket.SHUT_RDWR)
            os._exit(0)
        connection.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
