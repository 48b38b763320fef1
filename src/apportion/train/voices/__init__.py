"""Second voices of a policy: a persona, a judge, the styles of reviewer tokens."""
