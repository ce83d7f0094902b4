"""The rows of the table: who does what, and how good the result is.

Each function takes the bench and returns contenders that have run, ours first.
"""

import json
import os
from pathlib import Path

import linear
import ours
from environment import FWUMIOUS_COMMIT
from measure import Contender, in_turn, run

HERE = Path(__file__).parent


class Bench:
    """What all works share."""

    def __init__(self, options, pctr, workload, environment):
        self.options, self.pctr, self.workload, self.environment = options, pctr, workload, environment
        self.folder = workload.folder
        self.cores = len(os.sched_getaffinity(0))

    def judge_bundle(self, contender, bundle):
        contender.log_loss, contender.auc = one(self.pctr.judge(bundle, self.workload.prepared("test")))

    def judge_predictions(self, contender, predictions):
        contender.log_loss, contender.auc = one(self.pctr.judge("--predictions", predictions))

    def our_training(self, name, model, train, threads, settings, rows, whole=False):
        bundle = self.folder / f"ours-{model}-{threads}"
        command = self.pctr.train(model, train, self.workload.prepared("valid"), bundle, threads, settings)
        learning = None if whole else ours.learning_seconds(bundle)
        return Contender(name, True, threads, rows, command, self.pctr.version, learning), bundle

    def fwumious(self):
        return linear.Fwumious(self.environment.fwumious(self.options.fwumious_source), self.folder)

    def judge_linear(self, contender, program, model):
        """Predicts with a peer's own command, and has our judge look at it."""
        text = self.workload.text("test")
        raw, predictions = self.folder / "peer.pred", self.folder / "predictions.csv"
        unmeasured = Contender(contender.name, False, 1, 0, program.predict(text, model, raw), contender.version)
        in_turn([unmeasured], 1)
        linear.with_labels(raw, text, predictions)
        self.judge_predictions(contender, predictions)


def ftrl(bench):
    """Linear model from each side's own prepared form, one thread."""
    rows, program = bench.options.rows, bench.fwumious()
    text, model = bench.workload.text("train"), bench.folder / "fwumious-cache.model"
    our, bundle = bench.our_training(
        "pctr FTRL from prepared rows", "ftrl", bench.workload.prepared("train"), 1, ours.LINEAR, rows
    )
    command = program.train(text, model, from_cache=True)
    if not Path(f"{text}.fwcache").exists():
        in_turn([Contender("Fwumious makes its cache", False, 1, rows, command, "")], 1)
    version, learning = fwumious_version(), program.learning_seconds
    peer = Contender("Fwumious LR from its cache", False, 1, rows, command, version, learning)
    in_turn([our, peer], bench.options.rounds)
    bench.judge_bundle(our, bundle)
    bench.judge_linear(peer, program, model)
    return [our, peer]


def text(bench):
    """Text → a trained linear model, the whole process. The peers read text that was converted for them."""
    rows, program = bench.options.rows, bench.fwumious()
    vowpal = linear.VowpalWabbit(bench.environment.python("vowpalwabbit"))
    lines, model = bench.workload.text("train"), bench.folder / "fwumious-text.model"
    vowpal_model = bench.folder / "vowpal.model"
    log = bench.workload.rows("train")
    our, bundle = bench.our_training("pctr FTRL from text", "ftrl", log, bench.cores, ours.LINEAR, rows, whole=True)
    # A log's own encoder is learned from it, so its few validation rows must come as a log too.
    our.command[our.command.index("--valid") + 1] = bench.workload.rows("valid")
    fwumious = Contender(
        "Fwumious LR from text", False, 1, rows, program.train(lines, model, from_cache=False), fwumious_version()
    )
    vowpal_command = vowpal.train(lines, vowpal_model)
    other = Contender("Vowpal Wabbit LR from text", False, 2, rows, vowpal_command, pinned("vowpalwabbit"))
    in_turn([our, fwumious, other], bench.options.rounds)
    bench.judge_bundle(our, bundle)
    bench.judge_linear(fwumious, program, model)
    bench.judge_linear(other, vowpal, vowpal_model)
    return [our, fwumious, other]


def prepare(bench):
    """Text → prepared rows. The note says GB/s of text; beside it, what a plain loop over bytes reaches."""
    log = bench.workload.rows("train")
    target = bench.folder / "prepared-again"
    our = Contender(
        f"pctr prepare, {bench.cores} threads",
        True,
        bench.cores,
        bench.options.rows,
        bench.pctr.prepare(log, target, bench.cores),
        bench.pctr.version,
        before=lambda: bench.workload.fresh(target.name),
    )
    single = Contender(
        "pctr prepare, 1 thread",
        True,
        1,
        bench.options.rows,
        bench.pctr.prepare(log, target, 1),
        bench.pctr.version,
        before=lambda: bench.workload.fresh(target.name),
    )
    in_turn([our, single], bench.options.rounds)
    loop = bench.pctr.machine()["rates"]["byte_loop"]["one_thread"]
    for contender in (our, single):
        gigabytes = log.stat().st_size * contender.process_rows_per_second() / bench.options.rows / 1e9
        contender.note = f"{gigabytes:.2f} GB/s of text; a plain byte loop on one core {loop:.2f} GB/s"
    return [our, single]


def dcn(bench):
    """The deep model, one thread. Rates from the first rows, quality from all of them and each seed."""
    rows = min(bench.options.dcn_rows, bench.options.rows)
    settings = [*ours.DEEP, f"batch_rows={bench.options.batch_rows}"]
    part = bench.workload.prepared("train", rows)
    contenders, train = [], []
    for precision in PRECISIONS:
        extra = [f"precision={precision}"]
        our, _ = bench.our_training(f"pctr DCN {precision}", "dcn", part, 1, [*settings, *extra], rows)
        if precision == "bf16" and not has_bf16():
            our.note = "the processor has no bf16 instructions: factors are rounded, products are those of f32"
        contenders.append(our)
        train.append(("ours", our, extra))
    for precision in PRECISIONS:
        peer = torch(bench, precision, rows, 1)
        contenders.append(peer)
        train.append(("torch", peer, precision))
    in_turn(contenders, bench.options.rounds)
    for side, contender, extra in train:
        quality(bench, side, contender, extra, settings)
    return contenders


def threads(bench):
    """The deep model of ours on one thread and on all."""
    rows = min(bench.options.dcn_rows, bench.options.rows)
    settings = [*ours.DEEP, f"batch_rows={bench.options.batch_rows}", "precision=f32"]
    part = bench.workload.prepared("train", rows)
    contenders = [
        bench.our_training(f"pctr DCN f32, {count} threads", "dcn", part, count, settings, rows)[0]
        for count in (bench.cores, 1)
    ]
    in_turn(contenders, bench.options.rounds)
    return contenders


def torch(bench, precision, rows, threads_):
    """PyTorch on ready slots."""
    python = bench.environment.python("torch", "numpy", "pyarrow")
    out = bench.folder / f"torch-{precision}"
    stem = bench.workload.slots("train", python, rows)
    if precision == "bf16" and not has_bf16():
        rows = max(bench.options.batch_rows, rows // 8)
    command = [python, HERE / "torch_dcn.py", stem, out, "--rows", str(rows), "--precision", precision]
    command += ["--threads", str(threads_), "--batch-rows", str(bench.options.batch_rows)]
    contender = Contender(
        f"PyTorch DCN {precision}", False, threads_, rows, command, pinned("torch"), learning_of_outcome(out)
    )
    if precision == "bf16" and not has_bf16():
        contender.note = "the processor has no bf16 instructions: emulated, on an eighth of the rows, quality not taken"
    return contender


def quality(bench, side, contender, extra, settings):
    """Log loss and AUC over the seeds, on all rows."""
    contender.log_loss, contender.auc = [], []
    if side == "torch" and extra == "bf16" and not has_bf16():
        return
    for seed in range(1, bench.options.seeds + 1):
        if side == "ours":
            bundle = bench.folder / "ours-quality"
            valid, all_rows = bench.workload.prepared("valid"), bench.workload.prepared("train")
            command = bench.pctr.train("dcn", all_rows, valid, bundle, bench.cores, [*settings, *extra], seed)
            judged = (bundle, bench.workload.prepared("test"))
        else:
            python, out = bench.environment.python("torch", "numpy", "pyarrow"), bench.folder / "torch-quality"
            command = [python, HERE / "torch_dcn.py", bench.workload.slots("train", python), out]
            command += ["--test", bench.workload.slots("test", python), "--seed", str(seed), "--precision", extra]
            command += ["--threads", str(bench.cores), "--batch-rows", str(bench.options.batch_rows)]
            judged = ("--predictions", out / "predictions.csv")
        in_turn([Contender(f"{contender.name}, seed {seed}", False, bench.cores, bench.options.rows, command, "")], 1)
        log_loss, auc = bench.pctr.judge(*judged)
        contender.log_loss.append(log_loss)
        contender.auc.append(auc)


def score(bench):
    """The finished deep model, one thread, the same weights on both sides: 4,096 ready rows a call, and requests of 100 candidates."""
    settings = [*ours.DEEP, f"batch_rows={bench.options.batch_rows}", "precision=f32", "scoring_precision=f32"]
    python = bench.environment.python("numpy", "pyarrow", "onnx", "onnxruntime", "safetensors")
    rows, train = bench.options.rows, bench.workload.prepared("train")
    trained, bundle = bench.our_training("pctr DCN to be scored", "dcn", train, bench.cores, settings, rows)
    in_turn([trained], 1)
    slots, scorer = bench.workload.slots("test", python), ours.scorer(bench.options.scorer)
    log = bench.workload.rows("test")
    race = [python, HERE / "onnx_scoring.py", bundle, f"{slots}.npy", log, "--scorer", scorer]
    race += ["--rows", str(SCORED_AT_ONCE), "--candidates", str(CANDIDATES), "--rounds", str(bench.options.rounds)]
    _, _, printed = run(race, 1)
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    contenders = []
    for line in (line for line in lines if "contender" in line):
        name, ours_ = line["contender"], line["contender"].startswith("pctr")
        version = bench.pctr.version if ours_ else pinned("onnxruntime")
        at_once, what = (CANDIDATES, f"{CANDIDATES} candidates") if "candidates" in line else (SCORED_AT_ONCE, "scoring")
        contender = Contender(f"{name}, {what}", ours_, 1, at_once, race, version)
        contender.process_seconds = [at_once / line["rows per second"]]
        if "candidates" in line:
            contender.note = "30 of 39 fields are the context's; p50; pctr from cells, ONNX Runtime from ready slots"
        elif ours_:
            predictions = bench.folder / "predictions.csv"
            logits = ours.logits(scorer, bundle, log, slots, name.split()[1], bench.folder)
            ours.with_labels(logits, bench.workload.rows("test"), predictions)
            bench.judge_predictions(contender, predictions)
        else:
            contender.note = "logits equal those of pctr f32 within 1e-4"
        contenders.append(contender)
    return contenders


PRECISIONS = ("f32", "bf16")
SCORED_AT_ONCE = 4096
CANDIDATES = 100


def has_bf16():
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def learning_of_outcome(folder):
    def read(_printed):
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))["learning_seconds"]

    return read


def pinned(package):
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{package}=="))


def fwumious_version():
    return f"fwumious_wabbit@{FWUMIOUS_COMMIT[:7]}"


def one(judged):
    log_loss, auc = judged
    return [log_loss], [auc]


WORKS = {work.__name__: work for work in (ftrl, text, prepare, dcn, threads, score)}
