"""Two tiny MarianMT models that are trained on the spot: English to a made-up language and back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

NOUNS = ("mug", "towel", "lamp", "vase")
COLOURS = ("blue", "red", "green")
NUMBERS = ("350 ml", "40 cm", "10 w")
ENGLISH = [f"{c} {n} {q}" for n, c, q in itertools.product(NOUNS, COLOURS, NUMBERS)]
SAID_AGAIN = [f"a {n} in {c} , {q}" for n, c, q in itertools.product(NOUNS, COLOURS, NUMBERS)]
ABROAD = [" ".join(f"{w}o" for w in reversed(text.split())) for text in ENGLISH]
_STEPS = 300
_LOSS = 0.003


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Folders of the model there and of the one back."""
    there, back = folder / "there", folder / "back"
    _write(there, ENGLISH, ABROAD)
    _write(back, ABROAD, SAID_AGAIN)
    return there, back


def _tokenizer(texts: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def _write(folder: Path, sources: list[str], targets: list[str]) -> None:
    import torch
    from transformers import MarianConfig, MarianMTModel

    tokenizer = _tokenizer([*sources, *targets])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(tokenizer),
            d_model=48,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=96,
            decoder_ffn_dim=96,
            max_position_embeddings=32,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            forced_eos_token_id=None,
            dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            scale_embedding=True,
            init_std=0.1,
        )
    )
    given = tokenizer(sources, return_tensors="pt", padding=True)
    wanted = tokenizer(targets, return_tensors="pt", padding=True)["input_ids"]
    labels = wanted.masked_fill(wanted == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(_STEPS):
        loss = model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], labels=labels
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < _LOSS:
            break
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
