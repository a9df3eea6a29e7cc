"""Training: windows, steps, the loss, the loop, and the processes it runs in."""
