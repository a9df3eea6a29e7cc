"""What a stage tells the systems that watch: lineage, metrics, log lines."""
