"""Models for other programs: `sundays export`, see `course.export.command`."""
