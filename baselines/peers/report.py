"""Contenders that have run → a table of speeds and one of ratios for people, and a CSV record to commit."""

import csv
import datetime
import re
import statistics

COLUMNS = [
    *["work", "contender", "side", "threads", "rows", "process_seconds", "learning_seconds", "rows_per_second"],
    *["rows_per_second_process", "times_as_fast_as", "log_loss", "auc", "peak_mib", "version", "note", "command"],
]


def table(results):
    """Speeds, quality and memory; below them, how many times as fast each of ours is as each peer."""
    lines = [["work", "", "threads", "rows/s", "(process)", "log loss", "AUC", "peak MiB", "note"]]
    for work, contenders in results.items():
        for contender in contenders:
            lines.append(
                [
                    work,
                    contender.name,
                    str(contender.threads),
                    f"{contender.rows_per_second():,.0f}",
                    f"{contender.process_rows_per_second():,.0f}",
                    spread(contender.log_loss),
                    spread(contender.auc),
                    f"{contender.peak_mib:,.0f}" if contender.peak_mib else "–",
                    contender.note,
                ]
            )
    ratios = [["work", "", "is times as fast as", "", "least and greatest round"]]
    for work, contenders in results.items():
        for ours, other in pairs(contenders):
            rounds = ratio_of_rounds(ours, other)
            span = f"{min(rounds):.2f}–{max(rounds):.2f}"
            ratios.append([work, ours.name, f"{ratio(ours, other):.2f}×", other.name, span])
    return f"{aligned(lines)}\n\n{aligned(ratios)}"


def pairs(contenders):
    """Each of ours beside each peer; where there is no peer, the first of ours beside the others."""
    ours = [contender for contender in contenders if contender.ours]
    peers = [contender for contender in contenders if not contender.ours]
    if peers:
        return [(one, peer) for one in ours for peer in peers]
    return [(ours[0], other) for other in ours[1:]]


def ratio(ours, other):
    """Median rate over median rate."""
    return ours.rows_per_second() / other.rows_per_second()


def ratio_of_rounds(ours, other):
    seconds = zip(ours.learning_seconds or ours.process_seconds, other.learning_seconds or other.process_seconds)
    return [(ours.rows / mine) / (other.rows / theirs) for mine, theirs in seconds]


def spread(values):
    """Mean, and the standard deviation over seeds where there are several."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.5f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.5f}"


def aligned(lines):
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def write_csv(results, folder, machine):
    """Writes `folder`/<machine>/<date>-peers.csv and returns its path; works of an earlier run of the day are kept."""
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = folder / name / f"{datetime.date.today().isoformat()}-peers.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["work"] not in results]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
        for work, contenders in results.items():
            writer.writerows(cells(work, contender, contenders) for contender in contenders)
    return path


def cells(work, contender, contenders):
    ratios = [f"{other.name}: {ratio(contender, other):.3f}" for ours, other in pairs(contenders) if ours is contender]
    return {
        "work": work,
        "contender": contender.name,
        "side": "ours" if contender.ours else "peer",
        "threads": contender.threads,
        "rows": contender.rows,
        "process_seconds": ";".join(f"{seconds:.3f}" for seconds in contender.process_seconds),
        "learning_seconds": ";".join(f"{seconds:.3f}" for seconds in contender.learning_seconds),
        "rows_per_second": f"{contender.rows_per_second():.0f}",
        "rows_per_second_process": f"{contender.process_rows_per_second():.0f}",
        "times_as_fast_as": ";".join(ratios),
        "log_loss": ";".join(f"{value:.6f}" for value in contender.log_loss),
        "auc": ";".join(f"{value:.6f}" for value in contender.auc),
        "peak_mib": f"{contender.peak_mib:.0f}" if contender.peak_mib else "",
        "version": contender.version,
        "note": contender.note,
        "command": " ".join(str(word).rsplit("/", 1)[-1] for word in contender.command),
    }
