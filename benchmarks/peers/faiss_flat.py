"""faiss's IndexFlatIP on matrices in a folder: run by the interpreter that has faiss.

    python faiss_flat.py FOLDER K THREADS

Reads `wide.npy` [items, d] and `queries.npy` [users, d], writes `faiss_ids.npy`, says `ready`, and
then answers every line on stdin with the seconds of one search, so that a bench can take turns.
"""

import sys
import time
from pathlib import Path

import faiss
import numpy as np

folder, k, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
faiss.omp_set_num_threads(threads)
wide, queries = np.load(folder / "wide.npy"), np.load(folder / "queries.npy")
index = faiss.IndexFlatIP(wide.shape[1])
index.add(wide)
np.save(folder / "faiss_ids.npy", index.search(queries, k)[1])
print("ready", faiss.__version__, flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    index.search(queries, k)
    print(time.perf_counter() - started, flush=True)
