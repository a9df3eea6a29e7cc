"""Snapshot → samples.

plan, budget, allowance      what is made, and what it may cost
shard, chunks, gather        making it, piece by piece, and putting the pieces together
sources, samples             what a strategy reads, and the rows that it writes
fits, responses, adapters    what is kept in the lake: learnt, answered, adapted
strategies/                  one file a strategy; bases/: what several share
text/ customers/ tabular/ behaviour/    what their work consists of
engines/ prompts/            language models, and what they are asked
adapt/                       the language model learns the shop
hashing, ragged, neighbours, occurrences, shortage       used by all of them
"""
