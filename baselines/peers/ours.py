"""pctr's side: its commands, with the settings that make a comparison fair, and the judge of all predictions."""

import array
import json
import math
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# One pass over the same 39 fields, as the peers' linear models do.
LINEAR = ["passes=1", "bits=22", "alpha=0.1", "crosses=none"]

# The model of torch_dcn.py to the letter: same sizes, first weights of the same spread, rates and batches, no extras.
DEEP = [
    *["mode=hash", "bits=20", "crosses=none", "passes=1", "learning_rate=0.001", "decay=constant"],
    *["embedding_dim=16", "embedding_min_count=1", "embedding_optimizer=lazy_adam", "l2_embedding=0"],
    *["embedding_init=normal", "embedding_scale=0.01", "embedding_dropout=0"],
    *["cross_layers=3", "cross_rank=0", "deep=[400,400,400]", "dropout=0", "wide=none"],
]

# Peers are judged as they are, so ours is not calibrated either.
RAW = ['calibration=["identity"]']


class Pctr:
    """Commands of one `pctr` binary."""

    def __init__(self, binary):
        self.binary = binary
        self.version = self.ask("--version").split()[-1]

    def ask(self, *words):
        return subprocess.run([self.binary, *words], check=True, capture_output=True, text=True).stdout

    def call(self, *words):
        print(f"pctr {' '.join(str(word) for word in words)}", file=sys.stderr)
        subprocess.run([self.binary, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)

    def train(self, model, train, valid, bundle, threads, settings, seed=1):
        """`train` and `valid` are logs or prepared folders; the record of training goes beside the bundle."""
        command = [self.binary, "train", "--quiet", "--model", model, "--schema", "criteo", "--train", train]
        command += ["--valid", valid, "--seed", str(seed), "--threads", str(threads), "--out", bundle]
        for setting in [*settings, *RAW]:
            command += ["--set", setting]
        return [*command, "--record", f"{bundle}.json"]

    def prepare(self, log, folder, threads):
        words = ["prepare", "--quiet", log, "--schema", "criteo", "--output", folder, "--threads", str(threads)]
        return [self.binary, *words]

    def judge(self, *what):
        """Log loss and AUC of a bundle on rows, or of `--predictions FILE`."""
        metrics = json.loads(self.ask("evaluate", "--quiet", "--json", *what))
        return metrics["log_loss"], metrics["auc"]

    def machine(self):
        return json.loads(self.ask("machine", "--json", "--quiet"))


def scorer(given):
    """The program of benches/scoring.rs: the given one, or built now."""
    if given:
        return Path(given).absolute()
    build = ["cargo", "build", "--release", "--bench", "scoring", "--message-format", "json"]
    printed = subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    artifacts = [json.loads(line) for line in printed.splitlines()]
    found = [a["executable"] for a in artifacts if a.get("target", {}).get("name") == "scoring" and a.get("executable")]
    return Path(found[0])


def logits(scorer_program, bundle, log, slots, precision, folder):
    """What that program makes of ready slots of the log's rows in `precision`: one logit a row."""
    raw, answer = folder / "slots.u32", folder / "logits.f32"
    raw.write_bytes(numbers_of(Path(f"{slots}.npy").read_bytes()))
    ask = f"logits {precision} {answer}\n"
    subprocess.run([scorer_program, bundle, log, raw], input=ask, text=True, check=True, stdout=subprocess.DEVNULL)
    values = array.array("f")
    values.frombytes(answer.read_bytes())
    return values


def numbers_of(npy):
    """A NumPy file without its head: magic and version (8 bytes), a length (2), that many bytes of text."""
    return npy[10 + int.from_bytes(npy[8:10], "little") :]


def with_labels(logits_, log, out):
    """Logits and the log they belong to → predictions.csv for our judge."""
    with open(log, encoding="utf-8") as rows, open(out, "w", encoding="utf-8") as file:
        file.write("label,p\n")
        for row, logit in zip(rows, logits_, strict=True):
            file.write(f"{row[0]},{1 / (1 + math.exp(-logit)):.9g}\n")


def learning_seconds(bundle):
    """Reader of the seconds of learning alone: reading prepared rows, slots, steps, and one look at 1,000 rows."""

    def read(_printed):
        with open(f"{bundle}.json", encoding="utf-8") as file:
            return json.load(file)["training"]["seconds"]

    return read
