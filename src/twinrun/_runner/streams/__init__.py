"""Runs of generators: the control's stream goes to the caller, the candidates' run beside it."""

__all__: list[str] = []
