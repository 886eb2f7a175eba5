"""What an evaluation found, as pages, tables, charts and verdicts."""
