"""Ready slots → a DCN v2 trained in PyTorch → predictions.csv and run.json.

The model is the one pctr is measured against: an embedding of 16 for each of 39 fields, three full cross layers,
a parallel tower of 400-400-400, Adam for everything, sparse gradients for the embeddings. Rows are shuffled by the
seed; the time of a pass counts drawing batches, the step and nothing else.
"""

import argparse
import resource
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from outcome import Outcome, write_outcome, write_predictions

LEARNING_RATE = 1e-3
SCORING_ROWS = 4096


def main():
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    slots, labels = load(options.train, options.rows)
    model = Dcn(options.bits)
    seconds = [train(model, slots, labels, options) for _ in range(options.passes)]
    if options.test:
        test_slots, test_labels = load(options.test)
        write_predictions(options.out, test_labels, score(model, test_slots))
    write_outcome(
        options.out,
        Outcome(
            version=torch.__version__,
            rows=len(labels) * options.passes,
            learning_seconds=sum(seconds),
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            settings=vars(options),
        ),
    )
    if options.save:
        torch.save(model.state_dict(), options.save)


def parse():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("train", help="<train>.npy: slots [rows, fields]; <train>.labels.npy beside it")
    arguments.add_argument("out", help="folder for run.json, and predictions.csv with --test")
    arguments.add_argument("--test", help="the same for rows to score")
    arguments.add_argument("--rows", type=int, help="train on the first rows only")
    arguments.add_argument("--passes", type=int, default=1)
    arguments.add_argument("--batch-rows", type=int, default=4096)
    arguments.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--bits", type=int, default=20, help="the slots stand in a table of 2^bits rows")
    arguments.add_argument("--save", help="also keep the weights here")
    return arguments.parse_args()


def load(stem, rows=None):
    slots = torch.from_numpy(np.load(f"{stem}.npy")[:rows])
    labels = torch.from_numpy(np.load(f"{stem}.labels.npy")[:rows].astype(np.float32))
    return slots, labels


class Dcn(nn.Module):
    """DCN v2, parallel form (Wang et al., 2021): the cross network and the tower read the same embeddings."""

    def __init__(self, bits, fields=39, embedding=16, cross_layers=3, tower=(400, 400, 400)):
        super().__init__()
        width = fields * embedding
        self.embeddings = nn.Embedding(2**bits, embedding, sparse=True)
        nn.init.normal_(self.embeddings.weight, std=0.01)
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(cross_layers))
        layers, inputs = [], width
        for outputs in tower:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.tower = nn.Sequential(*layers)
        self.head = nn.Linear(width + inputs, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, slots):
        """Slots [rows, fields] → logits [rows]."""
        x0 = self.embeddings(slots).flatten(1)
        x = x0
        for layer in self.cross:
            x = x + x0 * layer(x)
        return self.head(torch.cat([x, self.tower(x0)], 1)).squeeze(1)


def train(model, slots, labels, options):
    """One pass in an order drawn by the seed; returns its seconds."""
    dense = [weights for name, weights in model.named_parameters() if not name.startswith("embeddings")]
    if not hasattr(model, "optimizers"):
        model.optimizers = [
            torch.optim.SparseAdam(model.embeddings.parameters(), lr=LEARNING_RATE),
            torch.optim.Adam(dense, lr=LEARNING_RATE),
        ]
    start = time.perf_counter()
    for batch in torch.randperm(len(labels)).split(options.batch_rows):
        step(model, slots[batch], labels[batch], options.precision)
    return time.perf_counter() - start


def step(model, slots, labels, precision):
    for optimizer in model.optimizers:
        optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = model(slots)
    functional.binary_cross_entropy_with_logits(logits.float(), labels).backward()
    for optimizer in model.optimizers:
        optimizer.step()


def score(model, slots):
    """Probabilities in f32, whatever precision trained."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([torch.sigmoid(model(rows)) for rows in slots.split(SCORING_ROWS)]).numpy()


if __name__ == "__main__":
    main()
