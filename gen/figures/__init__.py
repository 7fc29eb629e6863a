"""What figures and pages share: the house style, and how a page becomes one file."""
