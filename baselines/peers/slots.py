"""Rows prepared by pctr → slots and labels as NumPy files, so that every deep model sees the features that ours sees.

A slot is the low `bits` of a code: pctr's own rule for a table of 2^bits rows, which all fields share.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("prepared", type=Path, help="folder written by pctr prepare")
    arguments.add_argument("stem", help="writes <stem>.npy, int32 [rows, fields], and <stem>.labels.npy, int8 [rows]")
    arguments.add_argument("--bits", type=int, default=20)
    options = arguments.parse_args()
    slots, labels = [], []
    for path in sorted(options.prepared.glob("part-*.arrow")):
        for batch in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_batches():
            codes = batch.column("codes")
            codes = codes.flatten().to_numpy().reshape(-1, codes.type.list_size)
            slots.append((codes & np.uint32(2**options.bits - 1)).astype(np.int32))
            labels.append(batch.column("label").to_numpy().astype(np.int8))
    np.save(f"{options.stem}.npy", np.concatenate(slots))
    np.save(f"{options.stem}.labels.npy", np.concatenate(labels))


if __name__ == "__main__":
    main()
