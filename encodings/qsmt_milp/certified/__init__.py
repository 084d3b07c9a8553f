"""Branch and bound whose every leaf is a proof in exact arithmetic; `solver` is the backend."""
