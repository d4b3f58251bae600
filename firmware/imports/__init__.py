"""Models of others: specifications and hls4ml projects."""
