"""The client's commands. Imported when one of them runs, and then tyro and rich with it."""
