"""The admin API's door: renders what control's handlers return."""
