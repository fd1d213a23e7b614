"""The kit for all reports: results, tables, figures, pages."""
