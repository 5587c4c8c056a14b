"""What twinrun costs, as ratios within one run: `python -m benchmarks` prints the table."""

__all__: list[str] = []
