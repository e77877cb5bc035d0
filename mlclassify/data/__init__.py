"""From files and labels to batches."""
