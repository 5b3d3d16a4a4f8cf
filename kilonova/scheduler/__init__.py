"""The scheduler: which host a server goes to, and why not another."""
