"""kill -9 in the middle of edits: nothing acknowledged is lost, nothing is half there, the labels always open.

`TERRATUNE_KILLS=1000` kills more often.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path):
    kills = os.environ.get("TERRATUNE_KILLS", "100")
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.kill_labels", str(tmp_path), kills], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
