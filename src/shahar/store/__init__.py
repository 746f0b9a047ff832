"""Floor 2: the only floor that speaks SQL. It knows rows, not rights and not HTTP."""
