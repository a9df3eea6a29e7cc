"""One task per stage, as a process or as a pod."""
