"""The language model learns the shop: a LoRA adapter from texts that lie before the night."""
