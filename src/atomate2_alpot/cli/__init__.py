"""The `alpot` command: thin, calls the layers above."""
