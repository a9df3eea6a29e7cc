"""The recommender: a causal transformer over items with text features.

After SASRec (Kang & McAuley, 2018), with two changes that make cold items rankable:

- An item is its frozen text features, projected, plus a trainable id delta. The delta's norm is
  bounded by a share of the text part's, is zero for an item never trained on, and is dropped
  for a share of the items in every step (id dropout), so text alone must do as well.
- The history starts with a learned token, so a user without any history is ranked too.

Shapes in comments: B windows, L positions (the first is the start token), D dim, P features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nightshift.errors import SettingsError
from nightshift.recommend.model.attributes import ROWS
from nightshift.recommend.model.signals import BUCKETS, KINDS
from nightshift.recommend.training.windows import Part
from nightshift.settings import ModelSettings


class Attention(nn.Module):
    """Causal self-attention: [B, L, D] -> [B, L, D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        query, key, value = (
            self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each beside a way past it."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        dim, wide = settings.dim, settings.feedforward * settings.dim
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, settings.heads)
        self.up, self.down = nn.Linear(dim, wide), nn.Linear(wide, dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, part: Part | None = None) -> Tensor:  # [B, L, D] -> [B, L, D]
        x = x + _drop(self.dropout, self.attention(self.norm_attention(x)), part)
        return x + _drop(self.dropout, self.down(F.gelu(self.up(self.norm_forward(x)))), part)


class GatedBlock(nn.Module):
    """A block whose two parts pass learned gates, with SwiGLU (Shazeer, 2020) in the second.

    The gates are those of LiGR (Borisyuk et al., 2025, "From Features to Transformers"), which
    eSASRec (Tikhonovich et al., 2025) found to help SASRec.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        dim, wide = settings.dim, settings.feedforward * settings.dim
        self.norm_attention, self.norm_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, settings.heads)
        self.up, self.gate = nn.Linear(dim, wide, bias=False), nn.Linear(dim, wide, bias=False)
        self.down = nn.Linear(wide, dim, bias=False)
        self.pass_attention, self.pass_forward = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor, part: Part | None = None) -> Tensor:  # [B, L, D] -> [B, L, D]
        mixed = _drop(self.dropout, self.attention(self.norm_attention(x)), part)
        x = x + self.pass_attention(x).sigmoid() * mixed
        inner = self.norm_forward(x)
        wide = _drop(self.dropout, F.silu(self.gate(inner)) * self.up(inner), part)
        return x + self.pass_forward(x).sigmoid() * _drop(self.dropout, self.down(wide), part)


BLOCKS = {"sasrec": Block, "ligr": GatedBlock}


class Recommender(nn.Module):
    """History encoder, item tower and query projection, without the id deltas.

    The deltas are a table outside the module: a step touches few of its rows (see `training.loop`).

    Raises:
        SettingsError: `dim` cannot be cut into `heads`.
    """

    def __init__(self, settings: ModelSettings, features: int) -> None:
        super().__init__()
        if settings.dim % settings.heads:
            raise SettingsError(
                f"finetune.model.dim {settings.dim} is no multiple of heads {settings.heads}.",
                hint="choose a dim that the number of heads divides",
            )
        self.settings = settings
        dim = settings.dim
        self.text = nn.Linear(features, dim, bias=False)
        self.query = nn.Linear(features, dim, bias=False)
        self.start = nn.Parameter(torch.zeros(dim))
        self.position = nn.Parameter(torch.zeros(settings.max_length + 1, dim))
        self.blocks = nn.ModuleList(
            BLOCKS[settings.layer](settings) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.apply(_initialise)
        # Beside the items: nothing at first, so a model without them starts alike.
        self.kind = nn.Parameter(torch.zeros(KINDS, dim))
        self.gap = nn.Parameter(torch.zeros(BUCKETS, dim))
        self.wait = nn.Parameter(torch.zeros(BUCKETS, dim))
        nn.init.normal_(self.start, std=0.02)
        nn.init.normal_(self.position, std=0.02)
        self.attribute = nn.Parameter(torch.zeros(ROWS, dim)) if settings.attributes else None
        if features:
            # Unit features meet a near-isometric map: items start as far apart as their texts.
            nn.init.orthogonal_(self.text.weight)
            nn.init.orthogonal_(self.query.weight)

    def items(self, features: Tensor, delta: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Item vectors from unit features [n, P] and id deltas [n, D]: [n, D].

        Without any features (P = 0) an item is its id alone, and there is nothing to bound it by.

        Args:
            attributes: rows of the table of attributes [n, A], 0 for none (see `attribute_codes`);
                None: not told.
        """
        vectors = delta
        if features.shape[1]:
            text = self.text(features)
            bound = self.settings.id_norm * text.norm(dim=-1, keepdim=True).detach()
            norm = delta.norm(dim=-1, keepdim=True)
            vectors = text + delta * (bound / norm.clamp_min(1e-6)).clamp_max(1.0)
        if attributes is None or self.attribute is None:
            return vectors
        return vectors + self.of_attributes(attributes)

    def of_attributes(self, attributes: Tensor) -> Tensor:
        """What attributes [n, A] add to item vectors: the sum of their rows [n, D]."""
        assert self.attribute is not None
        return F.embedding_bag(attributes, self.attribute, mode="sum", padding_idx=0)

    def users(
        self,
        history: Tensor,
        lengths: Tensor,
        part: Part | None = None,
        signals: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Hidden states after the start token and after each item: [B, L + 1, D].

        Args:
            history: item vectors [B, L, D], oldest first, filled up on the right.
            lengths: [B] how many of them count. Causality keeps the filling out of the rest.
            part: which rows of the step's batch these are; None: all of them.
            signals: the events' kinds [B, L] and the buckets of the time in front of each event
                and of the one to come [B, L + 1] (see `Signals`); None: not told.
        """
        batch, length, dim = history.shape
        waits: Tensor | float = 0.0
        if signals is not None and self.settings.signals:
            kinds, gaps = (each.long() for each in signals)
            # In the scale of item vectors: what follows multiplies both.
            history = history + (self.kind[kinds] + self.gap[gaps[:, :length]])
            # How long it has been is known when the next item is asked for.
            waits = self.wait[gaps]
        x = torch.cat([self.start.expand(batch, 1, dim), history], dim=1)
        # Positions count back from the newest item: 0 is where the next item is predicted.
        back = lengths[:, None] - torch.arange(length + 1, device=history.device)[None, :]
        x = x * dim**0.5 + self.position[back.clamp(0, self.settings.max_length)]
        x = _drop(self.dropout, x, part)
        for block in self.blocks:
            x = block(x, part)
        out: Tensor = self.norm(x + waits)
        return out


def _drop(dropout: nn.Dropout, x: Tensor, part: Part | None) -> Tensor:
    """Dropout; a row's mask is that of its place in the whole batch, whoever computes it."""
    out: Tensor
    if part is None or not dropout.training:
        out = dropout(x)
    else:
        whole = torch.ones(part.of, *x.shape[1:], dtype=x.dtype, device=x.device)
        out = x * dropout(whole)[part.rows]
    return out


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
