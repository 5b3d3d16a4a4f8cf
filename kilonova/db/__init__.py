"""Every SQL statement. Functions take and return ``core`` values, never rows or sessions."""
