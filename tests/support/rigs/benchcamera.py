"""A camera of the benches: one encoded GOP of the wanted rate, played round and round."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bench_camera(*arguments: str) -> Iterator[str]:
    """Its RTSP URL; the arguments are `pancar_cli.bench.camera`'s."""
    command = [sys.executable, "-m", "pancar_cli.bench.camera", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"rtsp://127.0.0.1:{json.loads(process.stdout.readline())['port']}/0"
    finally:
        process.kill()
        process.wait()
