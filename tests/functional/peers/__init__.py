"""Services of a cloud that kilonova talks to, as small as its conversations with them."""
