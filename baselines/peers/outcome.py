"""What a peer hands over: predictions.csv for our judge (`pctr evaluate --predictions`), run.json for the table."""

import dataclasses
import json
from pathlib import Path


@dataclasses.dataclass
class Outcome:
    """How a run went. `rows` are rows learned, passes counted; the seconds leave out what is read beforehand."""

    version: str
    rows: int
    learning_seconds: float
    peak_mib: float
    settings: dict


def write_outcome(folder, outcome):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(dataclasses.asdict(outcome), indent=2) + "\n", encoding="utf-8")


def write_predictions(folder, labels, probabilities):
    """One line for each test row, in file order: what happened, what was predicted."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "predictions.csv", "w", encoding="utf-8") as file:
        file.write("label,p\n")
        file.writelines(f"{int(label)},{float(p):.9g}\n" for label, p in zip(labels, probabilities))
