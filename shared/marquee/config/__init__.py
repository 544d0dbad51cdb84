"""Settings, their field types, timestamps and files."""
