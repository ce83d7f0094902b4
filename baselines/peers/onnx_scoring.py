"""One bundle scored by pctr and by ONNX Runtime, in turn (A B A B), one thread each.

Rows: from ready slots to logits. Requests: one context (three quarters of the fields) and many candidates; pctr's scorer starts from
cells and ends with calibrated probabilities, ONNX Runtime starts from the ready slots of the same rows and ends with logits.
The graph is built from the bundle's own weights, so that both score the same model; their logits are compared before anything is timed.

    cargo bench --no-run --bench scoring          # prints the path of pctr's side
    python baselines/peers/onnx_scoring.py BUNDLE SLOTS.npy LOG --scorer target/release/deps/scoring-...
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

# Rows of the log that benches/scoring.rs takes requests from.
MOST_ROWS = 50_000

# Rows of a call, and calls of a turn: a turn takes about a tenth of a second.
CALLS = {1: 300, 10: 100, 100: 40, 300: 10, 4096: 1}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("bundle", type=Path, help="a DCN with full cross layers and no linear part (parallel form, 2^bits slots)")
    arguments.add_argument("slots", type=Path, help="NumPy file of slots, [rows, fields], as slots.py writes")
    arguments.add_argument("log", type=Path, help="the log whose rows the slots are")
    arguments.add_argument("--scorer", required=True, help="the program of benches/scoring.rs")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--rows", type=int, nargs="*", default=[1, 100, 4096], help="rows of a call")
    arguments.add_argument("--candidates", type=int, nargs="*", default=[], help="candidates of a request")
    options = arguments.parse_args()
    slots = np.load(options.slots).astype(np.uint32)
    with tempfile.TemporaryDirectory() as folder:
        raw = os.path.join(folder, "slots")
        slots.tofile(raw)
        contenders = {f"pctr {precision}": Pctr(options, raw, precision) for precision in ("f32", "int8")}
        contenders["onnxruntime f32"] = Onnx(options.bundle, slots, folder)
        compare(contenders, folder)
        for rows in options.rows:
            report("rows", rows, race(contenders, "seconds", rows, options.rounds))
        for candidates in options.candidates:
            compare_requests(contenders, candidates)
            report("candidates", candidates, race(contenders, "request_seconds", candidates, options.rounds))


def graph(bundle):
    """The network as ONNX: ids int64 [rows, fields] → logit f32 [rows, 1]."""
    tensors = load_file(str(bundle / "weights.safetensors"))
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind, *inputs, **attributes):
        output = f"value{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(name, x):
        return node("Gemm", x, constant(f"{name}.weight", tensors[f"{name}.weight"]), constant(f"{name}.bias", tensors[f"{name}.bias"]))

    table = constant("embedding", tensors["embedding.weight"])
    x0 = node("Flatten", node("Gather", table, "ids", axis=0), axis=1)
    x = x0
    for layer in range(sum(name.startswith("cross.") and name.endswith(".weight") for name in tensors)):
        x = node("Add", node("Mul", x0, linear(f"cross.{layer}", x)), x)
    hidden = x0
    for layer in range(sum(name.startswith("deep.") and name.endswith(".weight") for name in tensors)):
        hidden = node("Relu", linear(f"deep.{layer}", hidden))
    head = np.concatenate([tensors["head.cross"], tensors["head.deep"]])[:, None]
    both = node("Concat", x, hidden, axis=1)
    nodes.append(helper.make_node("Gemm", [both, constant("head", head), constant("bias", tensors["head.bias"])], ["logit"]))
    whole = helper.make_graph(
        nodes,
        "dcn",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "fields"])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["rows", 1])],
        constants,
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


class Onnx:
    """ONNX Runtime on one thread, all of its graph optimizations on."""

    def __init__(self, bundle, slots, folder):
        path = os.path.join(folder, "dcn.onnx")
        onnx.save(graph(bundle), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.slots, self.at = slots.astype(np.int64), 0

    def logits(self, _folder):
        parts = [self.run(self.slots[first : first + 4096]) for first in range(0, len(self.slots), 4096)]
        return np.concatenate(parts)

    def run(self, slots):
        return self.session.run(None, {"ids": slots})[0][:, 0]

    def request(self, candidates, number):
        """Slots of a request: the first three quarters of the fields are those of its first row."""
        slots = self.slots[number * candidates : (number + 1) * candidates].copy()
        shared = slots.shape[1] - slots.shape[1] // 4
        slots[:, :shared] = slots[0, :shared]
        return slots

    def answer(self, candidates, number):
        return self.run(self.request(candidates, number))

    def request_seconds(self, candidates, calls):
        requests = min(len(self.slots), MOST_ROWS) // candidates
        prepared = [self.request(candidates, number % requests) for number in range(calls)]
        return [timed(lambda slots=slots: self.run(slots)) for slots in prepared]

    def seconds(self, rows, calls):
        seconds = []
        for _ in range(calls):
            self.at = 0 if self.at + rows > len(self.slots) else self.at
            slots = self.slots[self.at : self.at + rows]
            seconds.append(timed(lambda slots=slots: self.run(slots)))
            self.at += rows
        return seconds


class Pctr:
    """benches/scoring.rs, a process that waits while others run."""

    def __init__(self, options, slots, precision):
        self.precision = precision
        command = [options.scorer, str(options.bundle), str(options.log), slots]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def logits(self, folder):
        file = os.path.join(folder, self.precision)
        assert self.ask("logits", self.precision, file) == ["ok"], "the scorer failed"
        return np.fromfile(file, "<f4")

    def seconds(self, rows, calls):
        return [float(second) for second in self.ask("time", self.precision, rows, calls)]

    def request_seconds(self, candidates, calls):
        return [float(second) for second in self.ask("requests", self.precision, candidates, calls)]

    def answer(self, candidates, number):
        return np.array([float(logit) for logit in self.ask("answer", self.precision, candidates, number)])


def compare(contenders, folder):
    logits = {name: contender.logits(folder) for name, contender in contenders.items()}
    theirs = logits["onnxruntime f32"]
    for name, ours in logits.items():
        apart = np.abs(ours - theirs)
        print(json.dumps({"logits": name, "greatest difference": float(apart.max()), "root mean square": float(np.sqrt((apart**2).mean()))}))
    assert np.abs(logits["pctr f32"] - theirs).max() < 1e-4, "these are not the same model"


def compare_requests(contenders, candidates):
    for number in range(3):
        theirs = contenders["onnxruntime f32"].answer(candidates, number)
        for name, limit in (("pctr f32", 1e-4), ("pctr int8", 0.1)):
            apart = np.abs(contenders[name].answer(candidates, number) - theirs).max()
            assert apart < limit, f"{name}: a request of {candidates} candidates is {apart} off"


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def race(contenders, measure, rows, rounds):
    """Seconds of every call of each turn, turns taken alternately; the first round warms up."""
    turns = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            turns[name].append(getattr(contender, measure)(rows, CALLS.get(rows, 1)))
    return {name: seconds[1:] for name, seconds in turns.items()}


def report(what, rows, turns):
    """The median over rounds of the medians of turns, and the best call, which other load on the machine disturbs least."""
    medians = {name: np.median(np.array(seconds), axis=1) for name, seconds in turns.items()}
    best = {name: float(np.min(seconds)) for name, seconds in turns.items()}
    for name in turns:
        line = {
            what: rows,
            "contender": name,
            "p50 microseconds": round(1e6 * float(np.median(medians[name])), 1),
            "rows per second": round(rows / float(np.median(medians[name]))),
            "times onnxruntime": round(float(np.median(medians["onnxruntime f32"] / medians[name])), 2),
            "best call, rows per second": round(rows / best[name]),
            "best call, times onnxruntime": round(best["onnxruntime f32"] / best[name], 2),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
