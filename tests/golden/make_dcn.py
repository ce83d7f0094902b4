"""PyTorch's answers for two small DCN v2 models: writes dcn_parallel.safetensors and dcn_stacked.safetensors beside itself.

Pinned: torch 2.15.0, numpy 2.4.6, safetensors 0.8.0. Run: python make_dcn.py

Each file holds first weights, ten batches, the logits and every gradient of the first batch, the losses and the weights of
ten training steps, and logits in evaluation mode after them. All is computed in float64 and stored in float32. The settings
of the model (as a recipe writes them) and the layout of its rows are in the file's metadata.

Where PyTorch's optimizers and ours could differ, they are made to agree:
* Embeddings learn by torch.optim.Adam on the dense table, L2 as its weight_decay. Ours touches only the rows of a batch and
  replays the steps that others missed, so every row must agree, touched or not.
* The linear part learns by lazy Adam: moments of untouched slots stand still, corrections count all steps. That is
  torch.optim.SparseAdam except that SparseAdam adds epsilon before the second correction; so it is written out here.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

EMPTY, ROWS, STEPS, TABLE = 2**32 - 1, 32, 10, 40
SPANS = [("site", 1), ("ad", 1), ("hour", 1), ("tags", 3), ("site*ad", 1)]
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
torch.set_default_dtype(torch.float64)


def batches(generator):
    """Slots with short and empty bags, labels, weights. Each span has 8 slots of its own, some of them rare."""
    columns = []
    for index, (_, length) in enumerate(SPANS):
        for place in range(length):
            draw = np.minimum(generator.geometric(0.35, (STEPS, ROWS)) - 1, 7) + 8 * index
            columns.append(np.where(generator.random((STEPS, ROWS)) < 0.4, EMPTY, draw) if length > 1 else draw)
    slots = np.stack(columns, -1).astype(np.uint32)
    labels = (generator.random((STEPS, ROWS)) < 0.3).astype(np.float32)
    weights = generator.uniform(0.5, 2.0, (STEPS, ROWS)).astype(np.float32)
    return slots, labels, weights


def mean_of_bags(table, slots, spans):
    """Mean of the present rows of each span: batch × spans × dim."""
    present = slots != EMPTY
    rows = table[torch.where(present, slots, 0)] * present[..., None]
    fields, start = [], 0
    for _, length in spans:
        at = slice(start, start + length)
        fields.append(rows[:, at].sum(1) / present[:, at].sum(1, keepdim=True).clamp(min=1))
        start += length
    return torch.stack(fields, 1)


def forward(config, p, running, slots, training):
    fields = SPANS[:4] if config["wide"] != "none" else SPANS
    x0 = mean_of_bags(p["embedding.weight"], slots, fields).flatten(1)
    x = x0
    for layer in range(config["cross_layers"]):
        name = f"cross.{layer}."
        if config["cross_rank"] == 0:
            x = x0 * (x @ p[name + "weight"] + p[name + "bias"]) + x
            continue
        gates = torch.softmax(x @ p[name + "gate"], 1)
        rank, total = config["cross_rank"], 0
        for i in range(config["cross_experts"]):
            at = slice(i * rank, (i + 1) * rank)
            inner = torch.tanh(x @ p[name + "down"][:, at])
            outer = torch.tanh(inner @ p[name + "core"][i])
            total = total + gates[:, i : i + 1] * (x0 * (outer @ p[name + "up"][at] + p[name + "bias"]))
        x = total + x
    h = x if config["structure"] == "stacked" else x0
    for layer in range(len(config["deep"])):
        name = f"deep.{layer}."
        h = h @ p[name + "weight"]
        if config["batch_norm"]:
            mean, variance = running[layer]
            h = F.batch_norm(h, mean, variance, p[name + "norm.gamma"], p[name + "norm.beta"], training, 0.1, 1e-5)
        else:
            h = h + p[name + "bias"]
        h = F.relu(h)
    logits = p["head.bias"] + h @ p["head.deep"]
    if "head.cross" in p:
        logits = logits + x @ p["head.cross"]
    if config["wide"] != "none":
        logits = logits + mean_of_bags(p["wide.weight"][:, None], slots, SPANS).sum((1, 2))
    return logits


def first_weights(config, generator):
    draw = lambda *shape: torch.tensor(generator.normal(0, 0.3, shape).astype(np.float32), dtype=torch.float64)
    dim, rank, experts = config["embedding_dim"], config["cross_rank"], config["cross_experts"]
    width = dim * (4 if config["wide"] != "none" else 5)
    p = {"embedding.weight": draw(TABLE, dim)}
    for layer in range(config["cross_layers"]):
        name = f"cross.{layer}."
        if rank == 0:
            p[name + "weight"] = draw(width, width)
        else:
            p[name + "down"], p[name + "core"] = draw(width, experts * rank), draw(experts, rank, rank)
            p[name + "up"], p[name + "gate"] = draw(experts * rank, width), draw(width, experts)
        p[name + "bias"] = draw(width)
    inputs = width
    for layer, outputs in enumerate(config["deep"]):
        name = f"deep.{layer}."
        p[name + "weight"] = draw(inputs, outputs)
        if config["batch_norm"]:
            p[name + "norm.gamma"], p[name + "norm.beta"] = 1 + draw(outputs), draw(outputs)
        else:
            p[name + "bias"] = draw(outputs)
        inputs = outputs
    if config["structure"] == "parallel":
        p["head.cross"] = draw(width)
    p["head.deep"], p["head.bias"] = draw(inputs), draw(1)
    if config["wide"] != "none":
        p["wide.weight"] = draw(TABLE)
    return p


def lazy_adam(weight, gradient, moments, touched, rate, step):
    first, second = moments
    first[touched] = BETA1 * first[touched] + (1 - BETA1) * gradient[touched]
    second[touched] = BETA2 * second[touched] + (1 - BETA2) * gradient[touched] ** 2
    root = (second[touched] / (1 - BETA2**step)).sqrt() + EPSILON
    weight.data[touched] -= rate * first[touched] / (1 - BETA1**step) / root


def make(name, config, seed):
    generator = np.random.default_rng(seed)
    slots, labels, weights = batches(generator)
    p = first_weights(config, generator)
    out = {"slots": slots, "labels": labels, "weights": weights}
    out |= {"first." + key: value.numpy().astype(np.float32) for key, value in p.items()}
    running = [(torch.zeros(width), torch.ones(width)) for width in config["deep"]]
    for value in p.values():
        value.requires_grad_()
    dense = [value for key, value in p.items() if key not in ("embedding.weight", "wide.weight")]
    groups = [{"params": dense}, {"params": [p["embedding.weight"]], "weight_decay": config["l2_embedding"]}]
    adam = torch.optim.Adam(groups, lr=config["learning_rate"], betas=(BETA1, BETA2), eps=EPSILON)
    moments = (torch.zeros(TABLE), torch.zeros(TABLE))
    losses = []
    for step in range(STEPS):
        batch = torch.tensor(slots[step].astype(np.int64))
        y, w = torch.tensor(labels[step]).double(), torch.tensor(weights[step]).double()
        logits = forward(config, p, running, batch, True)
        loss = F.binary_cross_entropy_with_logits(logits, y, weight=w, reduction="sum")
        losses.append(loss.item())
        for value in p.values():
            value.grad = None
        (loss / ROWS).backward()
        if step == 0:
            out["logits"] = logits.detach().numpy().astype(np.float32)
            out |= {"gradient." + key: value.grad.numpy().astype(np.float32) for key, value in p.items()}
        adam.step()
        if "wide.weight" in p:
            touched = torch.unique(batch[batch != EMPTY])
            lazy_adam(p["wide.weight"], p["wide.weight"].grad, moments, touched, config["wide_learning_rate"], step + 1)
    out["losses"] = np.array(losses)
    out |= {"last." + key: value.detach().numpy().astype(np.float32) for key, value in p.items()}
    evaluation = forward(config, p, running, torch.tensor(slots[0].astype(np.int64)), False)
    out["evaluation"] = evaluation.detach().numpy().astype(np.float32)
    spans, start = [], 0
    for span, length in SPANS:
        spans.append({"name": span, "start": start, "len": length})
        start += length
    layout = {"spans": spans, "table_rows": TABLE}
    metadata = {"config": json.dumps(config), "layout": json.dumps(layout)}
    save_file(out, pathlib.Path(__file__).with_name(f"dcn_{name}.safetensors"), metadata)


shared = {"embedding_dim": 4, "deep": [8, 6], "cross_layers": 2, "embedding_optimizer": "adam", "learning_rate": 0.01}
parallel = {"structure": "parallel", "cross_rank": 0, "cross_experts": 1, "batch_norm": False, "wide": "adam"}
stacked = {"structure": "stacked", "cross_rank": 3, "cross_experts": 2, "batch_norm": True, "wide": "none"}
make("parallel", shared | parallel | {"wide_learning_rate": 0.02, "l2_embedding": 0.0}, 1)
make("stacked", shared | stacked | {"l2_embedding": 0.01}, 2)
