"""What users run: one list of checks behind every face."""
