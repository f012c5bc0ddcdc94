"""Energy Flow inside other tools, one file a tool; each needs the extra that its first line names."""
