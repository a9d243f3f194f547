"""What is known of the clips: manifests, labels, splits, and the guards against leaks between them."""
