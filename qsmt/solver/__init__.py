"""What a solver is, and how one is kept in a killable child process."""
