"""Vowpal Wabbit and Fwumious Wabbit: their text, their commands, their predictions.

Both learn logistic regression with rates per feature and read a text of their own, made here beforehand and not
counted. Integers become tokens, floor(ln(x)²) above 2, a rule well known for Criteo's logs.
"""

import math
import re
import string

FIELDS = string.ascii_uppercase[:13] + string.ascii_lowercase
# Of learning rates 0.03 to 0.15, the best for Fwumious on the generated rows.
LEARNING_RATE = "0.1"
BITS = "22"


def write_text(log, text):
    """Criteo's 40 columns → one line a row: the label, then a namespace for each field that is there."""
    with open(log, encoding="utf-8") as rows, open(text, "w", encoding="utf-8") as lines:
        for row in rows:
            label, *cells = row.rstrip("\n").split("\t")
            words = ["1" if label == "1" else "-1"]
            for position, (field, cell) in enumerate(zip(FIELDS, cells)):
                if cell:
                    words.append(f"|{field} {token(cell) if position < 13 else cell}")
            lines.write(" ".join(words) + "\n")


def token(cell):
    value = int(cell)
    return cell if value <= 2 else f"S{int(math.log(value) ** 2)}"


class Fwumious:
    """Its cache holds parsed and hashed rows; it is made once, by the first command that asks for it."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        namespaces = "".join(f"{field},{field}\n" for field in FIELDS)
        (folder / "vw_namespace_map.csv").write_text(namespaces, encoding="utf-8")

    def train(self, text, model, from_cache):
        keep = [word for field in FIELDS for word in ("--keep", field)]
        cache = ["-c"] if from_cache else []
        return [self.binary, *cache, *keep, "-d", text, *self.options(), "-f", model]

    def predict(self, text, model, predictions):
        return [self.binary, "-t", "-d", text, *self.options(), "-i", model, "-p", predictions]

    @staticmethod
    def options():
        line = f"-b {BITS} --adaptive --sgd --loss_function logistic --link logistic --l2 0.0 --hash all --save_resume"
        return [*line.split(), "-l", LEARNING_RATE, "--power_t", "0.5"]

    @staticmethod
    def learning_seconds(printed):
        """From its own clock: reading rows and learning, without start and without writing the model."""
        found = re.search(r"Elapsed: ([\d.]+)(ms|s) rows", printed)
        return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)


class VowpalWabbit:
    """With its default rule, adaptive and normalized; learning rate 0.5."""

    def __init__(self, python):
        self.program = [python, "-m", "vowpalwabbit", "--quiet", "--loss_function", "logistic"]

    def train(self, text, model):
        return [*self.program, "-b", BITS, "-d", text, "-f", model]

    def predict(self, text, model, predictions):
        return [*self.program, "-t", "-d", text, "-i", model, "--link", "logistic", "-p", predictions]


def with_labels(predictions, text, out):
    """One probability a line and the text it was made from → predictions.csv for our judge."""
    with open(predictions, encoding="utf-8") as file, open(text, encoding="utf-8") as rows:
        lines = [f"{int(row.startswith('1'))},{line.split()[0]}\n" for line, row in zip(file, rows, strict=True)]
    with open(out, "w", encoding="utf-8") as file:
        file.write("label,p\n")
        file.writelines(lines)
