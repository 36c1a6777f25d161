"""What an installation as a whole needs: check and uninstall."""
