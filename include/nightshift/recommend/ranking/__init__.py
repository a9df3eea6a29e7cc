"""What a score is made of beside the network: the users' side, and neighbours in text."""
