"""Mutation testing of the formulas: `nox -s mutants`, or `python -m tests.mutants` from the root.

cosmic-ray changes one operator or number of one file; the tests that read the changed line run; a
mutant that no test notices survives. This folder says which places are formulas, draws a sample of
the mutants of each folder, and chooses the tests.
"""
