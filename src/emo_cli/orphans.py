"""No worker goes on when the command it works for was killed: a second run may have begun the same work."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess


def end_with_parent() -> None:
    """Called once in a worker, ends it as soon as the process that started it is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), name="emo-parent", daemon=True).start()


def _follow(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
