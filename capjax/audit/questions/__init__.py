"""What an audit asks, a question a file."""
