"""Writes delong.json: predictions of three models on the same rows, and what an independent implementation says of their AUCs.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
    venv/bin/pip install --no-deps MLstatkit==0.1.91
    venv/bin/python tests/golden/make_delong.py

The structural components are taken from their definition (DeLong, DeLong and Clarke-Pearson 1988, eq. 4 and 5): every click is
compared with every other row in one m x n matrix. That is O(m n) and shares nothing with the O(n log n) placements of pctr.
numpy.cov and scipy.stats.norm do the rest. The AUC itself is checked against scikit-learn's, and what comes out of each pair (z and p)
against MLstatkit's DeLong test, which is a third implementation (the fast one of Sun and Xu 2014, as in R's pROC).
Quantiles of Student's t and of the normal distribution are scipy's.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy
import sklearn
from MLstatkit import Delong_test
from scipy import stats
from sklearn.metrics import roc_auc_score

PINNED = {"scikit-learn": "1.9.1", "numpy": "2.4.6", "scipy": "1.17.1", "MLstatkit": "0.1.91"}


def main():
    found = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "scipy": scipy.__version__}
    found["MLstatkit"] = version("MLstatkit")
    if found != PINNED:
        sys.exit(f"expected {PINNED}, found {found}")
    rng = np.random.default_rng(1988)
    cases = [
        case("distinct", rng, 400, 0.3, 9),
        case("ties", rng, 400, 0.25, 1),
        case("many ties", rng, 300, 0.2, 0),
        case("rare clicks", rng, 900, 0.01, 4),
    ]
    reaches = [
        {"tails": tails, "degrees": degrees, "reach": stats.t.isf(tails / 2, degrees)}
        for tails in (0.5, 0.05, 0.01, 1e-4, 1e-7)
        for degrees in (1.0, 1.7, 4.0, 8.3, 30.0, 99.0, 1234.5, 1e6)
    ]
    normal = [{"p": p, "z": stats.norm.ppf(p)} for p in (1e-12, 1e-4, 0.01, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999)]
    text = json.dumps({"made_by": found, "cases": cases, "student": reaches, "normal": normal})
    (Path(__file__).parent / "delong.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")


def case(name, rng, rows, ctr, digits):
    logit = np.log(ctr / (1 - ctr)) + rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    labels[:4] = [0, 1, 0, 1]
    models = [1 / (1 + np.exp(-(logit + noise * rng.normal(size=rows)))) for noise in (0.3, 1.0, 1.1)]
    if digits == 0:
        models = [np.ceil(p * 4) / 4 for p in models]
    else:
        models = [np.round(p, digits) for p in models]
    of_clicks, of_others = zip(*(components(labels, p) for p in models))
    covariance = np.cov(of_clicks) / labels.sum() + np.cov(of_others) / (1 - labels).sum()
    aucs = [v10.mean() for v10 in of_clicks]
    for auc, p in zip(aucs, models):
        assert abs(auc - roc_auc_score(labels, p)) < 1e-12
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        error = np.sqrt(covariance[a, a] + covariance[b, b] - 2 * covariance[a, b])
        p_value = 2 * stats.norm.sf(abs(aucs[a] - aucs[b]) / error)
        z, known = Delong_test(labels, models[b], models[a], return_ci=False, return_auc=False)[:2]
        assert abs((aucs[a] - aucs[b]) / error - z) < 1e-9 and abs(p_value - known) < 1e-9, (name, a, b, z, known)
        pairs.append({"a": a, "b": b, "estimate": aucs[a] - aucs[b], "standard_error": error, "p_value": p_value})
    return {
        "name": name,
        "labels": labels.tolist(),
        "models": [p.tolist() for p in models],
        "aucs": aucs,
        "covariance": covariance.tolist(),
        "pairs": pairs,
    }


def components(labels, p):
    clicks, others = p[labels == 1][:, None], p[labels == 0][None, :]
    won = (clicks > others) + 0.5 * (clicks == others)
    return won.mean(axis=1), won.mean(axis=0)


if __name__ == "__main__":
    main()
