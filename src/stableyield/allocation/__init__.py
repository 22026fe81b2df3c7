"""The optimiser: problem, model, solver, plan, verifier."""
