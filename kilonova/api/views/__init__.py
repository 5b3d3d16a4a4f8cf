"""What answers look like, at each microversion. Pure: values in, JSON documents out."""
