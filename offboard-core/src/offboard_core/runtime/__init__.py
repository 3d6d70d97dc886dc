"""What happens between a frame that arrived and the frame that answers it; knows no transport and no vendor."""
