"""What spIsoNet's users bring with them: networks they have trained."""
