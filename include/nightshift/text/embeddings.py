"""Embeddings kept in the lake by text digest: no text is encoded twice.

    embeddings/<encoder16>/<segment sha12>.parquet       text_digest (binary 16), vector (float16)

Segments are only ever added. What a reader gets does not depend on which segments there are,
because a text's vector does not depend on its batch (see `encoder`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.text.encoder import Encoder, encoder_digest

_DIGEST_BYTES = 16


def text_digest(text: str) -> bytes:
    """The first 16 bytes of the text's SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]


def embed(
    lake: Lake, settings: Settings, texts: Sequence[str]
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int32], int]:
    """Vectors of the distinct texts, the row of each text, and how many had to be encoded.

    Returns:
        `vectors` [distinct, width] float16, `row_of_text` [texts] int32, the number encoded now.
    """
    if not texts:
        return np.zeros((0, 0), dtype=np.float16), np.zeros(0, dtype=np.int32), 0
    distinct = sorted(set(texts))
    row_of = {text: row for row, text in enumerate(distinct)}
    rows = np.fromiter((row_of[text] for text in texts), dtype=np.int32, count=len(texts))
    wanted = pl.DataFrame({"text_digest": [text_digest(t) for t in distinct]}).with_row_index()
    folder = f"embeddings/{encoder_digest(settings)[:16]}"
    known = wanted.join(_segments(lake, folder), on="text_digest", how="left").sort("index")
    missing = known.filter(pl.col("vector").is_null())["index"].to_list()
    if not missing:
        return _stack(known["vector"]), rows, 0
    fresh = Encoder(settings).encode([distinct[i] for i in missing]).astype(np.float16)
    _add(lake, folder, [text_digest(distinct[i]) for i in missing], fresh)
    vectors = np.zeros((len(distinct), fresh.shape[1]), dtype=np.float16)
    found = known.filter(pl.col("vector").is_not_null())
    if found.height:
        vectors[found["index"].to_numpy()] = _stack(found["vector"])
    vectors[missing] = fresh
    return vectors, rows, len(missing)


def _segments(lake: Lake, folder: str) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"text_digest": pl.Binary, "vector": pl.Binary})
    frames = [empty]
    for name in lake.names(folder):
        data = lake.read_bytes(f"{folder}/{name}")
        if data is not None:
            frames.append(pl.read_parquet(io.BytesIO(data)))
    return pl.concat(frames).unique("text_digest", keep="first", maintain_order=True)


def _stack(vectors: pl.Series) -> npt.NDArray[np.float16]:
    flat = np.frombuffer(b"".join(vectors.to_list()), dtype=np.float16)
    return flat.reshape(len(vectors), -1)


def _add(lake: Lake, folder: str, digests: list[bytes], vectors: npt.NDArray[np.float16]) -> None:
    frame = pl.DataFrame(
        {"text_digest": digests, "vector": [row.tobytes() for row in vectors]},
        schema={"text_digest": pl.Binary, "vector": pl.Binary},
    )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    data = buffer.getvalue()
    lake.create(f"{folder}/{hashlib.sha256(data).hexdigest()[:12]}.parquet", data)
