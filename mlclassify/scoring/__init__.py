"""Scoring lists of photos too long for one run: shards, parts, and what parts say together."""
