"""What a night waits for."""
