"""What a guest is told of itself, by config drive or over HTTP, in the forms that cloud-init reads."""
