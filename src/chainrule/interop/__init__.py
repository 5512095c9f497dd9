"""Other libraries' names and formats. Each part is imported only when it is named."""
