"""Rows for everybody: a generated log, or a given one, cut in file order and put into each side's own form once.

    train.tsv, valid.tsv, test.tsv    40 columns, as Criteo's logs
    train/, valid/, test/             the same, prepared by pctr with the encoder of the training rows
    train.vw, test.vw                 the text of Vowpal Wabbit and Fwumious Wabbit
    train.npy, test.npy               slots and labels for the deep peers

The validation rows are few: pctr wants some, and a model in one pass learns nothing from them.
"""

import itertools
import shutil
import subprocess
from pathlib import Path

import linear

VALID_ROWS = 1000


class Workload:
    """Files of one folder, each made when it is first asked for."""

    def __init__(self, folder, pctr, log=None, train_rows=1_000_000, test_rows=200_000, seed=1):
        self.folder, self.pctr, self.log = Path(folder), pctr, log
        self.train_rows, self.test_rows, self.seed = train_rows, test_rows, seed
        self.folder.mkdir(parents=True, exist_ok=True)

    def rows(self, part):
        """The log of `part`: train, test or valid; the three follow each other in the stream."""
        path = self.folder / f"{part}.tsv"
        if not path.exists():
            self.cut()
        return path

    def first(self, rows):
        """The first training rows, as a log of their own."""
        if rows >= self.train_rows:
            return self.rows("train")
        path = self.folder / f"first-{rows}.tsv"
        if not path.exists():
            with open(self.rows("train"), "rb") as log, open(path, "wb") as out:
                out.writelines(itertools.islice(log, rows))
        return path

    def cut(self):
        log = self.log
        if log is None:
            log = self.folder / "all.tsv"
            rows = self.train_rows + self.test_rows + VALID_ROWS
            self.pctr.call("generate", "--shape", "criteo", "--rows", str(rows), "--seed", str(self.seed), "--out", log)
        with open(log, "rb") as lines:
            for part, rows in [("train", self.train_rows), ("test", self.test_rows), ("valid", VALID_ROWS)]:
                with open(self.folder / f"{part}.tsv", "wb") as out:
                    out.writelines(itertools.islice(lines, rows))
        if self.log is None:
            log.unlink()

    def prepared(self, part, rows=None):
        """`part` prepared; of the training rows the first `rows` only, if given."""
        log = self.first(rows) if rows else self.rows(part)
        folder = self.folder / log.stem
        if not (folder / "manifest.json").exists():
            encoder = [] if part == "train" and log.stem == "train" else ["--encoder", self.prepared("train")]
            self.pctr.call("prepare", log, "--schema", "criteo", "--output", folder, *encoder)
        return folder

    def text(self, part):
        path = self.folder / f"{part}.vw"
        if not path.exists():
            linear.write_text(self.rows(part), path)
        return path

    def slots(self, part, python, rows=None):
        """Stem of the NumPy files."""
        prepared = self.prepared(part, rows)
        stem = self.folder / prepared.name
        if not Path(f"{stem}.labels.npy").exists():
            subprocess.run([python, Path(__file__).parent / "slots.py", prepared, stem], check=True)
        return stem

    def fresh(self, name):
        """A path under the folder where nothing stands."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path
