"""Metrics of decisions: labels predicted or not, against labels present or not."""
