"""Pictures, and pages to listen to, of what is there: clips, stores, runs, students."""
