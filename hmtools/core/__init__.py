"""What every part stands on: errors, settings, logging, atomic files, safe unpickling. Nothing of ours."""
