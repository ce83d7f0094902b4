"""Writes metrics.json: inputs and the values an independent implementation gives for them.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
    venv/bin/python tests/golden/make_metrics.py

Every value comes from scikit-learn or scipy where these have the metric. Where they do not (PCOC, the equal-mass table
with ties or weights, the averages over groups), it is a few lines of numpy here, written from the definition.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.stats import binomtest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

PINNED = {"scikit-learn": "1.9.1", "numpy": "2.4.6", "scipy": "1.17.1"}
BINS = 20
DEPTH = 10


def main():
    found = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
    if found != PINNED:
        sys.exit(f"expected {PINNED}, found {found}")
    warnings.simplefilter("ignore")  # one class: scikit-learn warns and returns nan
    cases = [case(*inputs) for inputs in all_inputs()]
    text = "{\"made_by\": " + json.dumps(found) + ",\n\"cases\": [\n" + ",\n".join(map(json.dumps, cases)) + "\n]}\n"
    (Path(__file__).parent / "metrics.json").write_text(text.replace("NaN", "null"))


def all_inputs():
    rng = np.random.default_rng(20240607)

    def random(n, ctr, sharpness=1.0):
        logit = np.log(ctr / (1 - ctr)) + sharpness * rng.normal(size=n)
        p = np.round(1 / (1 + np.exp(-logit)), 7)
        return (rng.random(n) < p).astype(int), p

    y, p = random(300, 0.3)
    yield "random", y, p, None, None
    y, p = random(300, 0.2, 1.5)
    yield "ties", y, np.round(p, 1).clip(0.05, 0.95), None, None
    y, p = random(1000, 0.004, 1.2)
    yield "rare clicks", y, p, None, None
    y, p = random(300, 0.25)
    w = np.round(rng.exponential(size=300) + 0.01, 3)
    yield "weights", y, p, w, None
    yield "weights and ties", y, np.round(p, 1).clip(0.05, 0.95), w, None
    y, p = random(400, 0.2, 1.3)
    g = (90 * rng.random(400) ** 2).astype(int)  # large groups and many small ones
    yield "groups", y, p, None, g
    yield "groups and ties", y, np.round(p, 1).clip(0.05, 0.95), None, g
    w = np.round(rng.exponential(size=400) + 0.01, 3)
    yield "groups and weights", y, p, w, g
    yield "no click", np.zeros(50, int), random(50, 0.2)[1], None, None
    yield "only clicks", np.ones(50, int), random(50, 0.8)[1], None, None
    y = (np.arange(60) % 3 == 0).astype(int)
    yield "perfect", y, np.where(y == 1, 0.9, 0.1) + np.arange(60) / 1000, None, None
    yield "inverted", y, np.where(y == 1, 0.1, 0.9) + np.arange(60) / 1000, None, None
    yield "certain mistakes", np.array([0, 1, 1, 0]), np.array([0.0, 0.0, 1.0, 1.0]), None, None
    yield "constant", y, np.full(60, 0.25), None, None


def case(name, y, p, w, g):
    # The engine takes f32 weights; hand scikit-learn the same numbers.
    w = None if w is None else w.astype(np.float32).astype(np.float64)
    y, p = np.asarray(y), np.asarray(p, dtype=np.float64)
    both = 0 < y.sum() < len(y)
    ctr = np.average(y, weights=w)
    loss = sk.log_loss(y, p, sample_weight=w, labels=[0, 1])
    table = equal_mass_table(y, p, w)
    if w is None and len(np.unique(p)) == len(p) and len(p) % BINS == 0:
        rate, mean = calibration_curve(y, p, n_bins=BINS, strategy="quantile")
        assert np.allclose(rate, [row["ctr"] for row in table]) and np.allclose(mean, [row["mean_probability"] for row in table])
    expected = {
        "ctr": ctr,
        "mean_probability": np.average(p, weights=w),
        "log_loss": loss,
        "normalized_entropy": loss / sk.log_loss(y, np.full(len(y), ctr), sample_weight=w) if both else None,
        "auc": sk.roc_auc_score(y, p, sample_weight=w) if both else None,
        "pr_auc": sk.average_precision_score(y, p, sample_weight=w) if y.any() else None,
        "best_f1": best_f1(y, p, w) if y.any() else None,
        "f1_at_ctr": sk.f1_score(y, p >= ctr, sample_weight=w, zero_division=0) if y.any() else None,
        "brier": sk.brier_score_loss(y, p, sample_weight=w, pos_label=1),
        "pcoc": np.average(p, weights=w) / ctr if y.any() else None,
        "ece": sum(row["weight"] * abs(row["mean_probability"] - row["ctr"]) for row in table) / sum(row["weight"] for row in table),
        "reliability": table,
        "roc": roc(y, p, w) if len(y) <= 300 else None,  # points take room, a few cases will do
        "grouped_auc": None if g is None else grouped_auc(y, p, w, g),
        "grouped_ndcg": None if g is None else grouped_ndcg(y, p, g),
    }
    listed = lambda values: None if values is None else values.tolist()
    return {"name": name, "labels": listed(y), "probabilities": listed(p), "weights": listed(w), "groups": listed(g), "expected": expected}


def best_f1(y, p, w):
    thresholds = np.unique(p)[::-1]
    values = np.array([sk.f1_score(y, p >= t, sample_weight=w) for t in thresholds])
    best = np.flatnonzero(values >= values.max() - 1e-12)[0]  # the highest of equally good thresholds
    called = p >= thresholds[best]
    return {
        "threshold": thresholds[best],
        "f1": values[best],
        "precision": sk.precision_score(y, called, sample_weight=w),
        "recall": sk.recall_score(y, called, sample_weight=w),
    }


def roc(y, p, w):
    if y.all() or not y.any():
        return []
    false_positive, true_positive, _ = sk.roc_curve(y, p, sample_weight=w, drop_intermediate=False)
    return [list(point) for point in zip(false_positive, true_positive)]


def equal_mass_table(y, p, w):
    """Bins of equal weight, filled from the highest probability down; equal probabilities never part."""
    w = np.ones(len(y)) if w is None else w
    share = w.sum() / BINS
    bins, members, reached = [], [], 0.0
    closed = 0  # shares that are full
    for value in np.unique(p)[::-1]:
        members.append(value)
        reached += w[p == value].sum()
        if reached >= (closed + 1) * share - 1e-9 * share:
            closed = int(np.floor(reached / share + 1e-9))
            bins.append(members)
            members = []
    if members:
        bins.append(members)
    return [bin_row(y, p, w, np.isin(p, members)) for members in bins[::-1]]


def bin_row(y, p, w, inside):
    y, p, w = y[inside], p[inside], w[inside]
    ctr = np.average(y, weights=w)
    row = {"lowest": p.min(), "highest": p.max(), "rows": int(inside.sum()), "weight": w.sum(), "mean_probability": np.average(p, weights=w), "ctr": ctr}
    if np.all(w == 1):  # scipy's interval is for whole trials
        interval = binomtest(int(y.sum()), len(y)).proportion_ci(0.95, method="wilson")
        row |= {"ctr_low": interval.low, "ctr_high": interval.high}
    return row


def grouped_auc(y, p, w, g):
    w = np.ones(len(y)) if w is None else w
    parts, skipped, skipped_weight = [], 0, 0.0
    for group in np.unique(g):
        inside = g == group
        if 0 < y[inside].sum() < inside.sum():
            parts.append((w[inside].sum(), sk.roc_auc_score(y[inside], p[inside], sample_weight=w[inside])))
        else:
            skipped += 1
            skipped_weight += w[inside].sum()
    return {
        "auc": np.average([auc for _, auc in parts], weights=[weight for weight, _ in parts]),
        "groups_used": len(parts),
        "groups_skipped": skipped,
        "share_skipped": skipped_weight / w.sum(),
    }


def grouped_ndcg(y, p, g):
    values = {k: [] for k in (1, 3, DEPTH)}
    for group in np.unique(g):
        inside = g == group
        if 0 < y[inside].sum() < inside.sum():
            for k, found in values.items():
                found.append(sk.ndcg_score([y[inside]], [p[inside]], k=k))
    return {str(k): np.mean(found) for k, found in values.items()}


if __name__ == "__main__":
    main()
