"""Commands → how long they took and how much memory they held.

Contenders run in turn, A B A B, so that a drift of the machine hits all alike.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Optional


@dataclasses.dataclass
class Contender:
    """One way to do a piece of work.

    `learning` reads the seconds of the work alone (without start, reading what the other side gets for nothing, or
    writing the model) from what the command printed; it is None where the whole process is the work.
    """

    name: str
    ours: bool
    threads: int
    rows: int
    command: list
    version: str
    learning: Optional[Callable[[str], float]] = None
    before: Optional[Callable[[], None]] = None
    note: str = ""
    process_seconds: list = dataclasses.field(default_factory=list)
    learning_seconds: list = dataclasses.field(default_factory=list)
    peak_mib: float = 0.0
    log_loss: list = dataclasses.field(default_factory=list)
    auc: list = dataclasses.field(default_factory=list)

    def rows_per_second(self):
        """Median over the rounds of the work alone, or of the process where that is the work."""
        return self.rows / statistics.median(self.learning_seconds or self.process_seconds)

    def process_rows_per_second(self):
        return self.rows / statistics.median(self.process_seconds)


def in_turn(contenders, rounds):
    """Runs each contender once a round, in the same order every round."""
    for number in range(rounds):
        for contender in contenders:
            if contender.before:
                contender.before()
            seconds, peak_mib, printed = run(contender.command, contender.threads)
            contender.process_seconds.append(seconds)
            if contender.learning:
                contender.learning_seconds.append(contender.learning(printed))
            contender.peak_mib = max(contender.peak_mib, peak_mib)
            rate = contender.rows / (contender.learning_seconds or contender.process_seconds)[-1]
            print(f"  round {number + 1}: {contender.name}: {rate:,.0f} rows/s", file=sys.stderr)


def run(command, threads):
    """Wall seconds, greatest resident MiB and printed text of one command; one thread stays on one core."""
    cores = sorted(os.sched_getaffinity(0))
    allowed = cores[-1:] if threads == 1 else cores[:threads]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
    log = Path(os.environ["PEERS_WORK"]) / "last-command.log"
    with open(log, "w", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=os.environ["PEERS_WORK"],
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    printed = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise SystemExit(f"exit code {process.returncode} of: {words}\n{printed[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, printed
