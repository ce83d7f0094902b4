"""Rows of `pctr generate --shape demo` with their truth -> the same rows in a world that drifts: drift.py LOG TRUTH OUT OUT_TRUTH.

Until 70 % of the rows nothing changes. From there to the end the log-odds of a click move along a line: their distance from -3.5
(a click-through rate of 3 %) shrinks to 0.8 times what it was, and all of them fall by 0.5. Clicks get rarer, and what drove them drives
them less. Clicks are drawn anew from the new truth, with a seed; the other columns stay, so features that count past clicks
describe the world as it was.
"""

import csv
import math
import random
import sys

log, truth, out, out_truth = sys.argv[1:]
STARTS, CENTER, SLOPE, SHIFT = 0.7, -3.5, 0.8, -0.5
probabilities = [float(line) for line in open(truth).read().split()[1:]]
draw = random.Random(4)
with open(log, newline="") as rows, open(out, "w", newline="") as drifted, open(out_truth, "w") as drifted_truth:
    reader = csv.reader(rows)
    header = next(reader)
    click, delay = header.index("click"), header.index("click_delay")
    writer = csv.writer(drifted, lineterminator="\n")
    writer.writerow(header)
    drifted_truth.write("p\n")
    for number, (row, p) in enumerate(zip(reader, probabilities, strict=True)):
        u = draw.random()
        moved = max(0.0, (number / len(probabilities) - STARTS) / (1.0 - STARTS))
        if moved > 0.0:
            logit = math.log(p / (1.0 - p))
            logit = CENTER + (logit - CENTER) * (1.0 + moved * (SLOPE - 1.0)) + moved * SHIFT
            p = round(1.0 / (1.0 + math.exp(-logit)), 12)
            row[click], row[delay] = str(int(u < p)), ""
        writer.writerow(row)
        drifted_truth.write(f"{p}\n")
