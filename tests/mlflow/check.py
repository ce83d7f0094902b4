"""Reads an export with MLflow's own client and compares it with the records it was made from: check.py MLRUNS RUNS."""

import json
import pathlib
import sys

from mlflow import MlflowClient
from mlflow.entities import ViewType

mlruns, runs = sys.argv[1:]
client = MlflowClient(tracking_uri=pathlib.Path(mlruns).resolve().as_uri())
experiments = client.search_experiments(view_type=ViewType.ACTIVE_ONLY)
assert [experiment.name for experiment in experiments] == ["for-mlflow"], experiments
found = client.search_runs([experiments[0].experiment_id], order_by=["metrics.test_log_loss ASC"])
losses = [run.data.metrics["test_log_loss"] for run in found]
assert losses == sorted(losses), "runs can be ordered by a metric"

checked = 0
names = set()
for run in found:
    folder = pathlib.Path(runs) / run.info.run_name
    names.add(run.info.run_name)
    record = json.loads((folder / "run.json").read_text())
    machine = json.loads((folder / "machine.json").read_text())
    assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time > 0, run.info
    expected = {
        "test_log_loss": record["test"]["log_loss"],
        "test_auc": record["test"]["auc"],
        "valid_log_loss": record["valid"]["log_loss"],
        "selection_log_loss": record["selection_log_loss"],
        "wall_seconds": machine["wall_seconds"],
        "score_p99_micros_100": machine["scoring"]["hundred"]["p99_micros"],
    }
    for key, value in expected.items():
        if value is None:
            assert key not in run.data.metrics, key
            continue
        assert run.data.metrics[key] == value, (key, run.data.metrics.get(key), value)
        checked += 1
    assert run.data.params["seed"] == str(record["seed"]) and run.data.params["kind"] == record["kind"]
    if record["kind"] == "ftrl":
        assert float(run.data.params["settings.model.alpha"]) == record["settings"]["model"]["alpha"], run.data.params
    curve = client.get_metric_history(run.info.run_id, "progressive_log_loss")
    points = [(point.step, point.value) for point in curve]
    assert points == [(point["rows"], point["progressive_log_loss"]) for point in record["training"]["curve"]], points
    assert run.data.tags["pctr.identity"] == record["identity"]
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"run.json", "machine.json"}, artifacts
    checked += len(points)
assert len(names) == len(found) == 4, names
print(f"mlflow read {len(found)} runs, {checked} numbers are those of the records")
