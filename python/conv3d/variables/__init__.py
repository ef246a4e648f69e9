"""Variables and the scopes that name, share and shape them."""
