"""The machinery of a run: decide, observe, compare, publish."""

__all__: list[str] = []
