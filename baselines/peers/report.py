"""Contenders that have run → a table of ratios for people, and a CSV record to commit."""

import csv
import datetime
import re
import statistics

COLUMNS = [
    *["work", "contender", "side", "threads", "rows", "process_seconds", "learning_seconds", "rows_per_second"],
    *["rows_per_second_process", "ours_over_it", "log_loss", "auc", "peak_mib", "version", "note", "command"],
]


def table(results):
    """One line a contender; a ratio says how many times as fast the first of ours is, with the extremes over rounds."""
    lines = [["work", "", "threads", "rows/s", "(process)", "ours is", "log loss", "AUC", "peak MiB", "note"]]
    for work, contenders in results.items():
        for contender in contenders:
            lines.append(
                [
                    work,
                    contender.name,
                    str(contender.threads),
                    f"{contender.rows_per_second():,.0f}",
                    f"{contender.process_rows_per_second():,.0f}",
                    "" if contender is contenders[0] else shown_ratio(contenders[0], contender),
                    spread(contender.log_loss),
                    spread(contender.auc),
                    f"{contender.peak_mib:,.0f}",
                    contender.note,
                ]
            )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def ratio(ours, other):
    """Median rate over median rate."""
    return ours.rows_per_second() / other.rows_per_second()


def shown_ratio(ours, other):
    rounds = [
        (ours.rows / mine) / (other.rows / theirs)
        for mine, theirs in zip(
            ours.learning_seconds or ours.process_seconds, other.learning_seconds or other.process_seconds
        )
    ]
    return f"{ratio(ours, other):.2f}× ({min(rounds):.2f}–{max(rounds):.2f})"


def spread(values):
    """Mean, and the standard deviation over seeds where there are several."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.5f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.5f}"


def write_csv(results, folder, machine):
    """Writes `folder`/<machine>/<date>-peers.csv and returns its path."""
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = folder / name / f"{datetime.date.today().isoformat()}-peers.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for work, contenders in results.items():
            for contender in contenders:
                writer.writerow(cells(work, contender, contenders[0]))
    return path


def cells(work, contender, ours):
    both = (contender.process_seconds, contender.learning_seconds)
    seconds = [";".join(f"{value:.3f}" for value in values) for values in both]
    return [
        *[work, contender.name, "ours" if contender.ours else "peer", contender.threads, contender.rows, *seconds],
        *[f"{contender.rows_per_second():.0f}", f"{contender.process_rows_per_second():.0f}"],
        f"{ratio(ours, contender):.3f}",
        ";".join(f"{value:.6f}" for value in contender.log_loss),
        ";".join(f"{value:.6f}" for value in contender.auc),
        f"{contender.peak_mib:.0f}",
        contender.version,
        contender.note,
        " ".join(str(word).rsplit("/", 1)[-1] for word in contender.command),
    ]
