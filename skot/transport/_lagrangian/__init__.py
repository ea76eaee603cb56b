"""LagrangianOT: transport along paths of least action."""
