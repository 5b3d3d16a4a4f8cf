"""What the HTTP services share: who asks, request ids, and how an application is served."""
