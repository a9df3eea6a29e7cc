"""Text: the sentence encoder, and embeddings kept in the lake."""
