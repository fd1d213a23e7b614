"""The kit that every report is made with: results, tables, figures, pages."""
