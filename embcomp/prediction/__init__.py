"""Labels of audio files by any model: whole files, windows of long recordings, tables. Needs neither torch nor pandas."""
